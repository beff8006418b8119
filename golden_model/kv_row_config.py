# SPDX-License-Identifier: Apache-2.0
"""Parameters of what codes queries, keys and values (standard library only)."""

from dataclasses import dataclass

from golden_model.config import WORD_BITS, _at_least, _ceil_div, _one_of, _require
from golden_model.quant_config import MANTISSA_BITS, MultiplierConfig, RoundingShifterConfig
from golden_model.quick_float_config import QuickFloatConfig

__all__ = ["RowQuantiserConfig"]


@dataclass(frozen=True, kw_only=True)
class RowQuantiserConfig:
    """Geometry of the quantiser of one head's query, key or value."""

    lanes: int = 4
    """Words a beat."""
    max_n: int = 128
    """Longest head."""
    code_bits: int = 8
    """Most bits of a code."""
    minmax: bool = False
    """Whether rows have min/max codes, with zero points."""
    digits: int = 3
    """Quotient digits a cycle."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, max_n=1, code_bits=2)
        _one_of(self, minmax=(False, True))
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
    def buffers(self) -> int:
        """Heads whose words have room: one comes in, one waits for its ratio, one is coded."""
        return 4

    @property
    def peak_latency(self) -> int:
        """Cycles from a head's last word until its peak is there: magnitudes, tree, maximum.

        With `minmax` there are two of them, and one cycle more for their sum.
        """
        return 1 + self.tree_levels + 1 + self.minmax

    @property
    def ratio_unit(self) -> QuickFloatConfig:
        """Unit that divides the levels by the peak."""
        return QuickFloatConfig(operations=("from_int", "div"), digits=self.digits,
                                int_bits=WORD_BITS, rows_per_stage=self.rows_per_stage,
                                form=self.form)

    @property
    def scale_unit(self) -> QuickFloatConfig:
        """Unit that makes the scales."""
        return QuickFloatConfig(operations=("mul", "div"), digits=self.digits,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def ratio_latency(self) -> int:
        """Cycles from a peak's taking to its ratio's, with `minmax` to the zero point's."""
        unit = self.ratio_unit.latency
        zero = 1 + self.multiplier.latency + self.shifter.latency if self.minmax else 0
        return unit["from_int"] + 1 + unit["div"] + zero

    @property
    def division(self) -> int:
        """Cycles from a peak, a small float by then, to the ratio."""
        return 1 + self.ratio_unit.latency["div"]

    @property
    def scale_latency(self) -> int:
        """Cycles from that peak, with `minmax` from the ratio's taking, until the scale is out."""
        unit = self.scale_unit.latency
        return 1 + unit["mul"] + 1 + unit["div"] + 1

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

    @property
    def head_latency(self) -> int:
        """Cycles from a head's last word to its first codes, if nothing is ahead of it."""
        return self.peak_latency + self.ratio_latency + 1 + self.latency

    def interval(self, n: int) -> int:
        """Cycles a head when heads of one length follow each other without a stall.

        What takes longest of: words in, and their peak; the ratio; the scale; words out again.
        """
        beats = _ceil_div(n, self.lanes)
        return max(beats + self.peak_latency + 1, self.ratio_latency + 1, self.scale_latency - 1,
                   beats + 1)
