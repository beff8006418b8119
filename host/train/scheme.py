# SPDX-License-Identifier: Apache-2.0
"""What is quantised, and how: one value for each stage of a run and for each evaluation."""

from dataclasses import dataclass, fields

__all__ = ["Scheme"]

ACTIVATIONS = ("float", "int8", "int4", "fp4")


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """Switches of the forward pass; the defaults are full precision.

    Each point that the paper (arXiv:2411.04965) leaves open is a field here.
    """

    activations: str = "float"
    """Input of q, k, v, gate and up: ``int8`` absmax (Eq. 3), ``int4`` absmean (Eq. 7) or ``fp4``
    (E2M1, absmax / 6), weights being ternary (Eq. 2); ``float`` quantises neither.  The inputs of
    wo and down are INT8, but ``fp4`` takes that of wo to FP4 too."""
    keep: float = 1.0
    """Share of wo's input that top-K keeps (Eq. 1), by INT8 magnitude, the lowest index first."""
    kv_bits: int = 16
    """Bits of the mid-rise code of K (after RoPE) and V, one scale a token and head; 16 is off."""
    bos_bits: int = 16
    """The same for position 0, the BOS token."""
    q_bits: int = 16
    """Bits of the symmetric absmax code of Q (after RoPE), one scale a token and head."""
    trit_embedding: bool = False
    """Embedding and LM head as three trits (27 levels, one scale), INT8 input of the head."""
    embedding_range: float = 3.0
    """The 27 levels span this many times the mean magnitude of the embedding."""

    def __post_init__(self) -> None:
        if self.activations not in ACTIVATIONS:
            raise ValueError(f"activations must be one of {', '.join(ACTIVATIONS)}, not "
                             f"{self.activations!r}")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must lie in (0, 1], not {self.keep}")
        for name in ("kv_bits", "bos_bits", "q_bits"):
            if not 2 <= getattr(self, name) <= 16:
                raise ValueError(f"{name} must be 2 to 16, not {getattr(self, name)}")
        if not self.embedding_range > 0:
            raise ValueError(f"embedding_range must be positive, not {self.embedding_range}")

    @classmethod
    def names(cls) -> frozenset[str]:
        """Names of the switches."""
        return frozenset(field.name for field in fields(cls))
