# SPDX-License-Identifier: Apache-2.0
"""Parameters of the integer softmax (standard library only).

Latencies are cycles from operands to results.
"""

from dataclasses import dataclass

from golden_model.config import WORD_BITS, _at_least, _one_of, _require
from golden_model.quant_config import (
    MANTISSA_BITS,
    MultiplierConfig,
    RoundingShifterConfig,
    ScaleLanesConfig,
)

__all__ = [
    "KV_EXPONENT_BITS",
    "KV_MANTISSA_BITS",
    "TABLE_FRACTION_BITS",
    "WEIGHT_BITS",
    "LogScoreConfig",
    "SoftmaxConfig",
    "ValueWeightConfig",
]

KV_MANTISSA_BITS = 11
"""Bits of a KV scale's mantissa, its hidden one included."""

KV_EXPONENT_BITS = 6
"""Bits of a KV scale's exponent, biased by 50."""

WEIGHT_BITS = 16
"""Bits of a softmax weight, 0..2**15."""

TABLE_FRACTION_BITS = 8
"""Fraction bits of a score, in units of log2."""


@dataclass(frozen=True, kw_only=True)
class LogScoreConfig:
    """Geometry of what turns one head's scores into units of log2."""

    sum_bits: int = 18
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _ = self.multiplier, self.scale

    @property
    def multiplier(self) -> MultiplierConfig:
        """Mantissa of the head's unit times that of the row's scale."""
        return MultiplierConfig(a_bits=MANTISSA_BITS + 1, b_bits=KV_MANTISSA_BITS + 1,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def scale(self) -> ScaleLanesConfig:
        """Score times the rounded product, as a word."""
        return ScaleLanesConfig(lanes=1, in_bits=self.sum_bits, rows_per_stage=self.rows_per_stage,
                                form=self.form)

    @property
    def latency(self) -> int:
        """Product of the scales, its rounding, the score times it."""
        return self.multiplier.latency + 1 + self.scale.latency


@dataclass(frozen=True, kw_only=True)
class ValueWeightConfig:
    """Geometry of what turns one head's log scores into value weights."""

    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _ = self.multiplier

    @property
    def table_shifter(self) -> RoundingShifterConfig:
        """Entry of the table, shifted by the whole octaves."""
        return RoundingShifterConfig(value_bits=WEIGHT_BITS, window_bits=WEIGHT_BITS, signed=False)

    @property
    def multiplier(self) -> MultiplierConfig:
        """Weight times the mantissa of the value row's scale."""
        return MultiplierConfig(a_bits=WEIGHT_BITS + 1, b_bits=KV_MANTISSA_BITS + 1,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def shifter(self) -> RoundingShifterConfig:
        """Aligner of the product to the largest exponent; a mantissa ``m`` is ``32 f / 2**8``."""
        return RoundingShifterConfig(value_bits=WEIGHT_BITS + KV_MANTISSA_BITS,
                                     window_bits=WORD_BITS, fraction_bits=3, signed=False)

    @property
    def weight_latency(self) -> int:
        """Cycles from operands to the softmax weight: distance, table, shifter, rounding."""
        return 2 + self.table_shifter.latency + 1

    @property
    def latency(self) -> int:
        """Cycles from operands to the value weight: multiplier, shifter, rounding beyond."""
        return self.weight_latency + self.multiplier.latency + self.shifter.latency + 1


@dataclass(frozen=True, kw_only=True)
class SoftmaxConfig:
    """Geometry of the integer softmax of `queries` heads over a buffer of scores."""

    queries: int = 1
    max_rows: int = 128
    sum_bits: int = 18
    """Signed bits of a score."""
    weight_bits: int = 8
    """Bits of a value weight's code."""
    banks: int = 3
    """Passes whose scores are kept: 3 lets three overlap, a fourth hides latencies between them."""
    abreast: int = 1
    """Rows of one head that are weighed in a cycle."""
    zeros: bool = False
    """Whether rows' scales end in zero points, of which the values' leave with their codes."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, queries=1, max_rows=1, banks=2)
        _one_of(self, abreast=(1, 2, 4), zeros=(False, True))
        _require(self.max_rows <= 4096, f"max_rows must be at most 4096, not {self.max_rows}")
        _require(2 <= self.weight_bits <= 16,
                 f"weight_bits must lie in 2..16, not {self.weight_bits}")
        _ = self.log_score, self.value_weight, self.code

    @property
    def log_score(self) -> LogScoreConfig:
        """Configuration of one head's first pass."""
        return LogScoreConfig(sum_bits=self.sum_bits, rows_per_stage=self.rows_per_stage,
                              form=self.form)

    @property
    def value_weight(self) -> ValueWeightConfig:
        """Configuration of one head's second pass."""
        return ValueWeightConfig(rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def code(self) -> ScaleLanesConfig:
        """Configuration of one head's quantiser; a code is unsigned, so its sign bit is spare."""
        return ScaleLanesConfig(lanes=1, in_bits=WORD_BITS + 1, out_bits=self.weight_bits + 1,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def weigh_latency(self) -> int:
        """Cycles from a row's reading to what a pass leaves for its scales."""
        return 1 + self.value_weight.latency + (self.abreast > 1)

    @property
    def total_bits(self) -> int:
        """Bits of the sum of all weights."""
        return WEIGHT_BITS - 1 + self.max_rows.bit_length()
