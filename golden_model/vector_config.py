# SPDX-License-Identifier: Apache-2.0
"""Parameters of the vector and FFN units (standard library only).

Latencies are cycles from a transfer on ``i`` to ``o.valid`` without backpressure.
"""

from dataclasses import dataclass

from golden_model.config import WORD_BITS, _at_least, _ceil_div, _require
from golden_model.quant_config import (
    MultiplierConfig,
    RoundingShifterConfig,
    ScaleLanesConfig,
)

__all__ = ["Relu2GluConfig", "ResidualAddConfig", "RopeConfig"]


@dataclass(frozen=True, kw_only=True)
class ResidualAddConfig:
    """Geometry of the residual addition: words plus scaled sums, P a cycle."""

    lanes: int = 4
    in_bits: int = 24
    """Bits of a projection's integer sum."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _ = self.scale

    @property
    def scale(self) -> ScaleLanesConfig:
        """Configuration of what brings sums to the residual stream's fixed point."""
        return ScaleLanesConfig(lanes=self.lanes, in_bits=self.in_bits,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def latency(self) -> int:
        """Scaling, then one addition."""
        return self.scale.latency + 1


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """Geometry of the rotary embedding: pairs of sums turned in a cycle."""

    pairs: int = 1
    in_bits: int = 18
    """Bits of a projection's integer sum: 18 takes 16,383 INT4 inputs, and INT8 needs 22."""
    table_bits: int = 16
    """Bits of a cosine or sine, which may be the full 1.0."""
    table_fraction_bits: int = 14
    extra_bits: int = 6
    """Fraction bits that a result has beyond the sums."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, pairs=1, table_fraction_bits=1, extra_bits=0)
        _require(self.extra_bits < self.table_fraction_bits,
                 f"extra_bits must be below table_fraction_bits ({self.table_fraction_bits}), not "
                 f"{self.extra_bits}")
        _ = self.multiplier

    @property
    def multiplier(self) -> MultiplierConfig:
        """Sum times cosine or sine."""
        return MultiplierConfig(a_bits=self.in_bits, b_bits=self.table_bits,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def dropped_bits(self) -> int:
        """Places that rounding drops."""
        return self.table_fraction_bits - self.extra_bits

    @property
    def latency(self) -> int:
        """Operand register, multiplier, sum of two products, rounding."""
        return 1 + self.multiplier.latency + 2


@dataclass(frozen=True, kw_only=True)
class Relu2GluConfig:
    """Geometry of the squared ReLU times the gated sum, and of what forms its shift."""

    lanes: int = 1
    """1 suffices where a row's sum takes several cycles."""
    gate_bits: int = 18
    """Bits of a gate's integer sum: 18 takes 16,383 INT4 inputs."""
    up_bits: int = 18
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, gate_bits=2, up_bits=2)
        for name in ("gate_bits", "up_bits"):
            value = getattr(self, name)
            _require(value <= 21, f"{name} must be at most 21, not {value}")
        _ = self.multiplier

    @property
    def relu_bits(self) -> int:
        """Bits of a gate above zero, without a sign."""
        return self.gate_bits - 1

    @property
    def product_bits(self) -> int:
        """Bits of ``max(gate, 0)**2 * up``."""
        return 2 * self.relu_bits + self.up_bits

    @property
    def most_shift(self) -> int:
        """Shift for a gate and a bound on ``|up|`` that are as large as their widths allow."""
        return max(0, self.product_bits - (WORD_BITS - 1))

    @property
    def shift_bits(self) -> int:
        """Bits of the shift."""
        return max(1, self.most_shift.bit_length())

    @property
    def squarer_rows(self) -> int:
        """Radix-4 digits of a gate, the topmost not negative."""
        return _ceil_div(self.gate_bits, 2)

    @property
    def squarer_latency(self) -> int:
        """Cycles from a gate to its square, the same for both forms."""
        return _ceil_div(self.squarer_rows, self.rows_per_stage)

    @property
    def multiplier(self) -> MultiplierConfig:
        """Square, with a sign bit of zero, times up."""
        return MultiplierConfig(a_bits=2 * self.relu_bits + 1, b_bits=self.up_bits,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def shifter(self) -> RoundingShifterConfig:
        """Aligner of the product to a word."""
        return RoundingShifterConfig(value_bits=self.product_bits, window_bits=WORD_BITS)

    @property
    def latency(self) -> int:
        """Operand register, square, product, shifter, rounding."""
        return 1 + self.squarer_latency + self.multiplier.latency + self.shifter.latency + 1

    @property
    def interval(self) -> int:
        """Cycles between beats."""
        return 1

    @property
    def peak_latency(self) -> int:
        """Cycles from gates to their mask and shift: union of the gates, bit length."""
        return 2
