# SPDX-License-Identifier: Apache-2.0
"""Parameters that model, generator and host share (standard library only).

Every class is frozen, takes keywords only, and refuses values that cannot work with a
``ValueError`` that names the field, its value and the limit.  A whole accelerator's configuration
is in :mod:`golden_model.accelerator_config`.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "ArrayConfig",
    "MAX_BATCH",
    "ModelShape",
    "Numerics",
    "TernaryDotConfig",
    "UnpackerConfig",
    "WORD_BITS",
    "config_hash",
]

WORD_BITS = 24
"""Bits of one signed, saturating vector word (residual stream, attention output, FFN product)."""

TRITS_PER_BYTE = 5
"""Base-3 packing: 3**5 = 243 of a byte's 256 codes carry five trits, 1.6 bits a weight."""

DIGIT_WEIGHT_BITS = 4
"""An activation of two digits is ``(high << 4) + low``."""


MAX_BATCH = 4
"""Most activation vectors that share a beat of weights."""


def _require(condition: bool, message: str) -> None:
    """Raise ``ValueError(message)`` unless `condition` holds."""
    if not condition:
        raise ValueError(message)


def _at_least(config: object, **limits: int) -> None:
    """Check that each named integer field is at least its limit."""
    for name, least in limits.items():
        value = getattr(config, name)
        _require(isinstance(value, int) and not isinstance(value, bool) and value >= least,
                 f"{name} must be an integer of at least {least}, not {value!r}")


def _one_of(config: object, **choices: tuple[object, ...]) -> None:
    """Check that each named field holds one of its choices."""
    for name, allowed in choices.items():
        value = getattr(config, name)
        listed = ", ".join(map(str, allowed))
        _require(value in allowed, f"{name} must be one of {listed}, not {value!r}")


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


_LATER = {"later": True}
"""Metadata of a field that came later: it counts in the hash once it is not its default."""


def _hashed_fields(config: Any) -> dict[str, Any]:
    return {one.name: getattr(config, one.name) for one in dataclasses.fields(config)
            if "later" not in one.metadata or getattr(config, one.name) != one.default}


def config_hash(config: object) -> str:
    """First 16 hexadecimal digits of SHA-256 over the configuration's canonical JSON."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise TypeError(f"config_hash takes a configuration object, not {config!r}")
    text = json.dumps(config, default=_hashed_fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Shape of one decoder: data for the accelerator, never geometry."""

    vocab: int
    hidden: int
    ffn: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    rope_theta: float = 10_000.0
    rms_eps: float = 1e-5

    def __post_init__(self) -> None:
        _at_least(self, vocab=2, hidden=1, ffn=1, layers=1, heads=1, kv_heads=1, head_dim=2,
                  context=1)
        _require(self.head_dim % 2 == 0,
                 f"head_dim must be even (RoPE rotates pairs), not {self.head_dim}")
        _require(self.heads % self.kv_heads == 0,
                 f"heads must be a multiple of kv_heads ({self.kv_heads}), not {self.heads}")
        _require(self.rope_theta > 1, f"rope_theta must be above 1, not {self.rope_theta}")
        _require(0 < self.rms_eps < 1, f"rms_eps must lie in (0, 1), not {self.rms_eps}")

    @property
    def q_dim(self) -> int:
        """Elements of one token's query, all heads."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Elements of one token's key (or value), all KV heads."""
        return self.kv_heads * self.head_dim

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """Rows M and columns K of each ternary matrix of one layer."""
        return {
            "wq": (self.q_dim, self.hidden),
            "wk": (self.kv_dim, self.hidden),
            "wv": (self.kv_dim, self.hidden),
            "wo": (self.hidden, self.q_dim),
            "gate": (self.ffn, self.hidden),
            "up": (self.ffn, self.hidden),
            "down": (self.hidden, self.ffn),
        }

    @property
    def ternary_parameters(self) -> int:
        """Ternary weights of all layers, embedding excluded."""
        return self.layers * sum(m * k for m, k in self.projections.values())


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Switches for what the paper leaves open; ``docs/numerics.md`` describes each."""

    act_format: str = "int4"
    """Input of the QKV, gate and up projections: ``int4`` (absmean), ``fp4`` (E2M1) or ``int8``
    (absmax: BitNet b1.58)."""
    wo_format: str = "int8"
    """Input of Wo: ``int8``, or ``fp4`` for the paper's all-FP4 variant (then without top-K)."""
    topk_keep: tuple[int, int] = (1, 2)
    """Kept share of the attention output ahead of Wo: numerator and denominator; (1, 1) is off."""
    topk_block: int = 0
    """0 selects over the whole vector; B keeps the share within every B neighbours."""
    topk_key: str = "code"
    """What top-K compares: the INT8 ``code`` or the ``value`` ahead of quantisation."""
    kv_bits: int = 3
    bos_bits: int = 4
    kv_code: str = "midrise"
    """``midrise``, ``symmetric``, or ``minmax``, of which integers have up to 4 bits."""
    q_bits: int = 8
    """Query bits; 16 leaves queries alone in the float reference and is 12 bits in integers."""
    p_bits: int = 8

    def __post_init__(self) -> None:
        _one_of(self, act_format=("int4", "fp4", "int8"), wo_format=("int8", "fp4"),
                topk_key=("code", "value"), kv_bits=(3, 4, 8, 16),
                bos_bits=(3, 4, 8, 16), kv_code=("midrise", "symmetric", "minmax"),
                q_bits=(4, 8, 16), p_bits=(8, 12))
        _at_least(self, topk_block=0)
        kept, of = self.topk_keep
        _require(of > 0 and 0 <= kept <= of,
                 f"topk_keep must be a share between 0 and 1, not {kept}/{of}")
        _require(self.bos_bits >= self.kv_bits,
                 f"bos_bits must be at least kv_bits ({self.kv_bits}), not {self.bos_bits}")


@dataclass(frozen=True, kw_only=True)
class TernaryDotConfig:
    """Geometry of one ternary x small-integer dot product."""

    lanes: int = 64
    digit_bits: int = 4
    """Width of one signed activation digit: 4 takes INT4; 5 also FP4 and both nibbles of INT8."""
    levels_per_stage: int = 2
    """Adder levels between two registers."""

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, digit_bits=2, levels_per_stage=1)
        _require(self.lanes <= 4096, f"lanes must be at most 4096, not {self.lanes}")
        _require(self.digit_bits <= 8, f"digit_bits must be at most 8, not {self.digit_bits}")

    @property
    def digit_range(self) -> range:
        """Values that an activation digit takes."""
        return range(-(1 << self.digit_bits - 1), 1 << self.digit_bits - 1)

    @property
    def sum_range(self) -> range:
        """Values of a full sum; symmetric, because a weight of -1 turns -8 into +8."""
        peak = -self.digit_range.start * self.lanes
        return range(-peak, peak + 1)

    @property
    def levels(self) -> int:
        """Adder levels: ceil(log2(lanes))."""
        return (self.lanes - 1).bit_length()

    @property
    def latency(self) -> int:
        """Clock cycles from a transfer on ``i`` to ``o.valid``, without backpressure."""
        return max(1, _ceil_div(self.levels, self.levels_per_stage))


@dataclass(frozen=True, kw_only=True)
class UnpackerConfig:
    """Geometry of one weight unpacker: a packed beat in, `trits` ternary weights out."""

    trits: int
    packing: str = "base3"

    def __post_init__(self) -> None:
        _at_least(self, trits=1)
        _one_of(self, packing=("base3", "2bit"))

    @property
    def packed_bits(self) -> int:
        """Bits of one packed beat; a base-3 beat is whole bytes, its spare trits are zero."""
        if self.packing == "2bit":
            return 2 * self.trits
        return 8 * _ceil_div(self.trits, TRITS_PER_BYTE)

    @property
    def latency(self) -> int:
        """Clock cycles from a transfer on ``i`` to ``o.valid``."""
        return 1


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """Geometry of the ternary array: ``rows`` dot products of ``lanes`` lanes share one tile."""

    rows: int = 8
    lanes: int = 64
    digit_bits: int = 5
    levels_per_stage: int = 2
    packing: str = "base3"
    max_k: int = 1024
    """Longest activation vector, in elements; sets the activation memory's depth."""
    max_m: int = 4096
    """Most output rows of one command; sets the width of the row-block counter."""
    acc_bits: int = 24
    batch: int = field(default=1, metadata=_LATER)
    """Most activation vectors of one command, which share each beat of weights."""

    def __post_init__(self) -> None:
        _at_least(self, rows=1, max_k=1, max_m=1, acc_bits=2)
        _require(self.rows <= 1024, f"rows must be at most 1024, not {self.rows}")
        _require(self.max_k <= 1 << 20, f"max_k must be at most {1 << 20}, not {self.max_k}")
        _require(self.max_m <= 1 << 24, f"max_m must be at most {1 << 24}, not {self.max_m}")
        _ = self.dot, self.unpacker  # their limits are this configuration's too
        _require(self.acc_bits >= self.needed_acc_bits,
                 f"acc_bits must be at least {self.needed_acc_bits} to hold a sum over max_k = "
                 f"{self.max_k} without overflow, not {self.acc_bits}; raise acc_bits or lower "
                 "max_k")
        _require(self.acc_bits <= 48, f"acc_bits must be at most 48, not {self.acc_bits}")
        _at_least(self, batch=1)
        _require(self.batch <= MAX_BATCH, f"batch must be at most {MAX_BATCH}, not {self.batch}")
        most = (1 << 20) // self.max_k
        _require(self.batch <= most, f"batch must be at most {most} for max_k = {self.max_k} (a "
                 f"tile memory of {1 << 20} elements), not {self.batch}; lower batch or max_k")

    @property
    def dot(self) -> TernaryDotConfig:
        """Configuration of one row's dot product."""
        return TernaryDotConfig(lanes=self.lanes, digit_bits=self.digit_bits,
                                levels_per_stage=self.levels_per_stage)

    @property
    def unpacker(self) -> UnpackerConfig:
        """Configuration of the weight unpacker, one beat of rows x lanes trits."""
        return UnpackerConfig(trits=self.macs_per_cycle, packing=self.packing)

    @property
    def macs_per_cycle(self) -> int:
        """Ternary multiply-accumulates a cycle at full rate."""
        return self.rows * self.lanes

    @property
    def max_digits(self) -> int:
        """Digits an activation may have: INT8 is two nibbles, which takes 5-bit digits."""
        return 2 if self.digit_bits >= 5 else 1

    @property
    def max_tiles(self) -> int:
        """Tiles of ``lanes`` elements in the longest vector."""
        return _ceil_div(self.max_k, self.lanes)

    @property
    def max_blocks(self) -> int:
        """Row blocks of ``rows`` outputs in the largest command."""
        return _ceil_div(self.max_m, self.rows)

    @property
    def tile_words(self) -> int:
        """Addresses of the activation memory: two banks of `batch` vectors, indices whole bits."""
        indices = self.max_digits, self.max_tiles, self.batch
        return 2 << sum((count - 1).bit_length() for count in indices)

    @property
    def core_latency(self) -> int:
        """Clock cycles from weights entering the core to their sums: reading the tile, the tree."""
        return 1 + self.dot.latency

    @property
    def latency(self) -> int:
        """Clock cycles from the last weight beat of a row block on ``i_w`` to ``o.valid``.

        For one digit, without stalls; every further digit adds a cycle.
        """
        return self.unpacker.latency + self.core_latency + 1

    @property
    def needed_acc_bits(self) -> int:
        """Signed bits that hold every sum: |activation| <= 128 as two digits, else 2**(bits-1)."""
        peak = 128 if self.max_digits == 2 else 1 << self.digit_bits - 1
        return (peak * self.max_tiles * self.lanes).bit_length() + 1
