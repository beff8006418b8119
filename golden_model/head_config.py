# SPDX-License-Identifier: Apache-2.0
"""Parameters of the LM head's units (standard library only)."""

from dataclasses import dataclass

from golden_model.config import _at_least, _ceil_div, _require
from golden_model.image_config import ImagePortConfig

__all__ = ["ArgmaxConfig", "EmbeddingRowConfig", "PlaneSumConfig"]

PLANES = 3
"""Trits of one weight of the head: 27 levels."""


@dataclass(frozen=True, kw_only=True)
class ArgmaxConfig:
    """Geometry of the search for the largest logit."""

    logit_bits: int = 29
    max_vocab: int = 4096

    def __post_init__(self) -> None:
        _at_least(self, logit_bits=2, max_vocab=2)
        _require(self.max_vocab <= 1 << 24, f"max_vocab must be at most {1 << 24}, not "
                                            f"{self.max_vocab}")

    @property
    def latency(self) -> int:
        """Cycles from the last logit's transfer to the token."""
        return 1


@dataclass(frozen=True, kw_only=True)
class PlaneSumConfig:
    """Geometry of what joins three ternary products to logits."""

    rows: int = 8
    """Sums in one beat of the array."""
    sum_bits: int = 24
    max_vocab: int = 4096

    def __post_init__(self) -> None:
        _at_least(self, rows=1, sum_bits=2)
        _ = self.argmax  # its limits are this configuration's too

    @property
    def logit_bits(self) -> int:
        """Signed bits of a logit: 13 times the largest sum."""
        return self.sum_bits + 4

    @property
    def argmax(self) -> ArgmaxConfig:
        """Configuration of the search among these logits."""
        return ArgmaxConfig(logit_bits=self.logit_bits, max_vocab=self.max_vocab)

    @property
    def latency(self) -> int:
        """Cycles from a block's last plane to its first logit."""
        return 2


@dataclass(frozen=True, kw_only=True)
class EmbeddingRowConfig:
    """Geometry of what reads one row of the embedding."""

    port: ImagePortConfig
    rows: int
    """Rows in one beat of the image, a power of two."""
    width: int
    """Elements of a row in one beat."""
    lanes: int = 4
    """Elements given a cycle."""
    max_n: int = 1024
    max_token_bits: int = 24

    def __post_init__(self) -> None:
        _at_least(self, rows=1, width=1, lanes=1, max_n=1)
        _require(self.rows & self.rows - 1 == 0,
                 f"rows must be a power of two, not {self.rows}")
        _require(self.width % self.lanes == 0,
                 f"width must be a multiple of lanes ({self.lanes}), not {self.width}")

    @property
    def code_bits(self) -> int:
        """Signed bits of three trits."""
        return 5

    @property
    def address_latency(self) -> int:
        """Cycles from a command's offer to its first request: product, sum."""
        return 2

    @property
    def parts(self) -> int:
        """Beats given for one tile."""
        return self.width // self.lanes

    @property
    def max_tiles(self) -> int:
        """Beats that one plane of the longest row takes."""
        return _ceil_div(self.max_n, self.width)

    @property
    def max_beats(self) -> int:
        """Beats given for the longest row."""
        return _ceil_div(self.max_n, self.lanes)
