# SPDX-License-Identifier: Apache-2.0
"""Parameters of what codes queries, keys and values (standard library only)."""

from dataclasses import dataclass

from golden_model.config import WORD_BITS, _at_least, _ceil_div, _require
from golden_model.quant_config import (
    MANTISSA_BITS,
    MultiplierConfig,
    RoundingShifterConfig,
    SmallFloatUnitConfig,
)

__all__ = ["RowQuantiserConfig"]

_BYTE_STEPS = 2
_BIT_STEPS = 7


@dataclass(frozen=True, kw_only=True)
class RowQuantiserConfig:
    """Geometry of the quantiser of one head's query, key or value."""

    lanes: int = 4
    """Words a beat; ``n / 32`` of them keep up with the small-float unit."""
    max_n: int = 128
    """Longest head."""
    code_bits: int = 8
    """Most bits of a code."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, max_n=1, code_bits=2)
        _require(self.max_n <= 4096, f"max_n must be at most 4096, not {self.max_n}")
        # Above, a code could leave its range by rounding and would need a saturator.
        _require(self.code_bits <= 12, f"code_bits must be at most 12, not {self.code_bits}")
        _ = self.multiplier

    @property
    def max_beats(self) -> int:
        """Beats of the longest head."""
        return _ceil_div(self.max_n, self.lanes)

    @property
    def tree_levels(self) -> int:
        """Registered levels that reduce the lanes' magnitudes to the largest."""
        return (self.lanes - 1).bit_length()

    @property
    def peak_latency(self) -> int:
        """Cycles from a head's last word until its peak is a small float.

        Magnitudes, their tree, the running maximum; then the peak moves up by bytes and by bits
        and is rounded.
        """
        return 1 + self.tree_levels + 1 + _BYTE_STEPS + _BIT_STEPS + 1

    @property
    def multiplier(self) -> MultiplierConfig:
        """Word times mantissa; the mantissa takes a sign bit."""
        return MultiplierConfig(a_bits=WORD_BITS, b_bits=MANTISSA_BITS + 1,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def shifter(self) -> RoundingShifterConfig:
        """Aligner of the product to a code; its zero shift is a peak of one."""
        return RoundingShifterConfig(value_bits=WORD_BITS + MANTISSA_BITS,
                                     window_bits=self.code_bits,
                                     fraction_bits=MANTISSA_BITS - self.code_bits)

    @property
    def latency(self) -> int:
        """Cycles from a word's reading out of the buffer to its code on ``o``."""
        return 1 + self.multiplier.latency + self.shifter.latency + 1

    def interval(self, unit: SmallFloatUnitConfig, n: int) -> int:
        """Cycles a head when heads of one length follow each other without a stall.

        One multiplication and two divisions; or, with too few lanes, from one head's ratio through
        its codes to the next one's.
        """
        scalar = unit.latency["mul"] + 2 * unit.latency["div"] + 3
        beats = _ceil_div(n, self.lanes)
        return max(scalar, unit.latency["div"] + 1 + beats + self.latency,
                   beats + self.peak_latency + 2)
