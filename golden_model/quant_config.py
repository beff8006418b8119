# SPDX-License-Identifier: Apache-2.0
"""Parameters of the quantisers and of their arithmetic (standard library only).

Latencies are cycles from a transfer on ``i`` to ``o.valid`` without backpressure.
"""

from dataclasses import dataclass
from typing import Protocol

from golden_model.config import WORD_BITS, _at_least, _ceil_div, _one_of, _require

__all__ = [
    "EXPONENT_BITS",
    "FloatUnitConfig",
    "MANTISSA_BITS",
    "MultiplierConfig",
    "NormQuantiserConfig",
    "RoundingShifterConfig",
    "ScaleLanesConfig",
    "SmallFloatUnitConfig",
]

MANTISSA_BITS = 16
"""Bits of a small float's mantissa; a normalised one has its top bit set."""

EXPONENT_BITS = 8
"""Bits of a small float's exponent, signed."""


@dataclass(frozen=True, kw_only=True)
class MultiplierConfig:
    """Geometry of one signed multiplier."""

    a_bits: int
    b_bits: int
    rows_per_stage: int = 3
    """Radix-4 rows, each one adder, between two registers."""
    form: str = "booth"
    """``booth``: rows of adders, one LUT6 a bit; ``dsp``: left to the synthesiser's inference."""

    def __post_init__(self) -> None:
        _at_least(self, a_bits=2, b_bits=2, rows_per_stage=1)
        _one_of(self, form=("booth", "dsp"))
        _require(self.a_bits + self.b_bits <= 64,
                 f"a_bits + b_bits must be at most 64, not {self.a_bits} + {self.b_bits}")

    @property
    def rows(self) -> int:
        """Radix-4 digits of ``b``."""
        return _ceil_div(self.b_bits, 2)

    @property
    def latency(self) -> int:
        """Cycles from operands to product, the same for both forms."""
        return _ceil_div(self.rows, self.rows_per_stage)


@dataclass(frozen=True, kw_only=True)
class RoundingShifterConfig:
    """Geometry of one right shifter that keeps what rounding needs."""

    value_bits: int
    window_bits: int
    """Bits kept above the point."""
    fraction_bits: int = 0
    """Bits of the value below the point ahead of the shift; negative: zeros appended."""
    signed: bool = True

    def __post_init__(self) -> None:
        _at_least(self, value_bits=2, window_bits=2)
        _require(-16 <= self.fraction_bits < self.value_bits,
                 f"fraction_bits must lie in -16..{self.value_bits - 1}, not {self.fraction_bits}")

    @property
    def places_bits(self) -> int:
        """Bits of the shift amount."""
        return 7

    @property
    def latency(self) -> int:
        """Cycles from the value to the window."""
        return 2


@dataclass(frozen=True, kw_only=True)
class ScaleLanesConfig:
    """Geometry of the elementwise scaling unit: integers times one small float, P a cycle."""

    lanes: int = 4
    in_bits: int = 36
    out_bits: int = WORD_BITS
    shift_bits: int = 8
    """Bits of the signed extra power of two."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, in_bits=2, out_bits=2, shift_bits=2)
        _require(self.in_bits <= 37, f"in_bits must be at most 37, not {self.in_bits}")
        _require(self.out_bits <= 24, f"out_bits must be at most 24, not {self.out_bits}")
        _ = self.multiplier, self.shifter

    @property
    def multiplier(self) -> MultiplierConfig:
        """Lane times mantissa; the mantissa takes a sign bit."""
        return MultiplierConfig(a_bits=self.in_bits, b_bits=MANTISSA_BITS + 1,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def shifter(self) -> RoundingShifterConfig:
        """Aligner whose zero shift is the largest scale under which a non-zero word may fit."""
        return RoundingShifterConfig(value_bits=self.in_bits + MANTISSA_BITS,
                                     window_bits=self.out_bits,
                                     fraction_bits=MANTISSA_BITS - self.out_bits)

    @property
    def latency(self) -> int:
        """Operand register, multiplier, shifter, rounding."""
        return 1 + self.multiplier.latency + self.shifter.latency + 1


class FloatUnitConfig(Protocol):
    """Whatever small floats are made by."""

    @property
    def latency(self) -> dict[str, int]:
        """Cycles from request to response of each operation, whatever the operands."""
        ...


@dataclass(frozen=True, kw_only=True)
class SmallFloatUnitConfig:
    """The iterative small-float unit: one geometry."""

    @property
    def latency(self) -> dict[str, int]:
        """Cycles from request to response of each operation, whatever the operands."""
        return {"from_int": 16, "mul": 23, "div": 22, "sqrt": 38, "add": 27}


@dataclass(frozen=True, kw_only=True)
class NormQuantiserConfig:
    """Geometry of the fused RMSNorm and activation quantiser."""

    lanes: int = 4
    max_n: int = 16_384
    """Longest vector."""
    gain_bits: int = 12
    residual: bool = False
    """Whether the lanes also do residual additions, which then need no unit of their own."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, max_n=1, gain_bits=2)
        _require(self.max_n <= 65_536, f"max_n must be at most 65536, not {self.max_n}")
        _require(self.gain_bits <= 12, f"gain_bits must be at most 12, not {self.gain_bits}")
        _ = self.gain_multiplier, self.multiplier

    @property
    def magnitude_bits(self) -> int:
        """Bits of ``|x * gain|``, which may be the full 2**(23 + 11)."""
        return WORD_BITS + self.gain_bits - 1

    @property
    def gain_multiplier(self) -> MultiplierConfig:
        """Word times gain."""
        return MultiplierConfig(a_bits=WORD_BITS, b_bits=self.gain_bits,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def multiplier(self) -> MultiplierConfig:
        """Word times itself in the first pass, magnitude times mantissa in the second."""
        return MultiplierConfig(a_bits=self.magnitude_bits + 1, b_bits=WORD_BITS,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def shifter(self) -> RoundingShifterConfig:
        """Aligner of a magnitude times a mantissa to an 8-bit code, or to a word."""
        window = WORD_BITS if self.residual else 8
        return RoundingShifterConfig(value_bits=self.magnitude_bits + MANTISSA_BITS,
                                     window_bits=window, fraction_bits=MANTISSA_BITS - window,
                                     signed=False)

    @property
    def square_sum_bits(self) -> int:
        """Bits of the sum of ``max_n`` squares of words."""
        return 2 * (WORD_BITS - 1) + self.max_n.bit_length()

    @property
    def statistic_bits(self) -> int:
        """Bits of the sum of ``max_n`` magnitudes."""
        return self.magnitude_bits - 1 + self.max_n.bit_length()

    @property
    def tree_levels(self) -> int:
        """Registered levels that reduce the lanes to one value."""
        return (self.lanes - 1).bit_length()

    @property
    def magnitude_latency(self) -> int:
        """Cycles from a transfer to the magnitudes: operands, gain, absolute value."""
        return 1 + self.gain_multiplier.latency + 1

    @property
    def square_latency(self) -> int:
        """Cycles from a transfer to the squares: operands, multiplier."""
        return 1 + self.multiplier.latency

    @property
    def statistics_latency(self) -> int:
        """Cycles from the last transfer of the first pass until both statistics stand."""
        return max(self.magnitude_latency, self.square_latency) + self.tree_levels + 1

    @property
    def latency(self) -> int:
        """Cycles from a transfer of the second pass to its codes on ``o``."""
        return self.magnitude_latency + self.multiplier.latency + self.shifter.latency + 1
