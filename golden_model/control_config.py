# SPDX-License-Identifier: Apache-2.0
"""Parameters of what runs a program (standard library only)."""

from dataclasses import dataclass

from golden_model.config import _at_least, _ceil_div
from golden_model.image_config import ImagePortConfig
from golden_model.instruction_config import INSTRUCTION_BITS
from golden_model.kv_config import KvCacheConfig

__all__ = ["ScaleProductsConfig", "SequencerConfig", "TokenRunConfig"]


@dataclass(frozen=True, kw_only=True)
class SequencerConfig:
    """Geometry of the sequencer."""

    port: ImagePortConfig
    count_bits: int = 16
    """Bits of the number of instructions in one run."""

    @property
    def beats(self) -> int:
        """Beats of one instruction."""
        return _ceil_div(INSTRUCTION_BITS, self.port.beat_bits)


@dataclass(frozen=True, kw_only=True)
class ScaleProductsConfig:
    """Geometry of what multiplies a scale by constants."""

    most: int = 3
    """Constants."""

    def __post_init__(self) -> None:
        _at_least(self, most=1)


@dataclass(frozen=True, kw_only=True)
class TokenRunConfig:
    """Geometry of what runs the program for each token."""

    sequencer: SequencerConfig
    cache: KvCacheConfig
