# SPDX-License-Identifier: Apache-2.0
"""Parameters of what joins attention's heads on one scale (standard library only)."""

from dataclasses import dataclass

from golden_model.config import _at_least, _ceil_div, _require
from golden_model.quant_config import ScaleLanesConfig

__all__ = ["HeadJoinerConfig"]


@dataclass(frozen=True, kw_only=True)
class HeadJoinerConfig:
    """Geometry of the unit that puts the heads' sums on one scale."""

    lanes: int = 4
    """Sums, and words, a beat."""
    max_n: int = 4096
    """Most elements of all heads together."""
    max_heads: int = 32
    sum_bits: int = 24
    """Signed bits of a sum."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, max_n=1, max_heads=1)
        _require(self.max_n <= 65_536, f"max_n must be at most 65536, not {self.max_n}")
        _require(2 <= self.sum_bits <= 32, f"sum_bits must lie in 2..32, not {self.sum_bits}")
        _ = self.scale

    @property
    def max_beats(self) -> int:
        """Beats of the longest vector."""
        return _ceil_div(self.max_n, self.lanes)

    @property
    def scale(self) -> ScaleLanesConfig:
        """Configuration of what brings sums to the common scale."""
        return ScaleLanesConfig(lanes=self.lanes, in_bits=self.sum_bits, shift_bits=10,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def latency(self) -> int:
        """Cycles from the last scale to the first words, if their sums are there."""
        return 3 + self.scale.latency
