# SPDX-License-Identifier: Apache-2.0
"""Parameters of the quick small-float unit (standard library only)."""

from dataclasses import dataclass

from golden_model.config import _one_of, _require
from golden_model.quant_config import MANTISSA_BITS, MultiplierConfig, SmallFloatUnitConfig

__all__ = ["OPERATIONS", "QUOTIENT_DIGITS", "MixedFloatConfig", "QuickFloatConfig"]

OPERATIONS = ("from_int", "mul", "div")
"""What such a unit can be built for."""

QUOTIENT_DIGITS = 18
"""Digits of a quotient ahead of rounding: the mantissa, one for its normalisation, one beyond."""


@dataclass(frozen=True, kw_only=True)
class QuickFloatConfig:
    """Geometry of a small-float unit that takes few cycles an operation."""

    operations: tuple[str, ...] = OPERATIONS
    """What it is built for."""
    digits: int = 3
    """Quotient digits a cycle, one adder each, one behind the other."""
    int_bits: int = 32
    """Bits of the integers that it converts."""
    shifts: int = 1
    """Cycles in which an integer is normalised."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _one_of(self, shifts=(1, 2))
        _require(bool(self.operations) and set(self.operations) <= set(OPERATIONS),
                 f"operations must be some of {', '.join(OPERATIONS)}, not {self.operations}")
        _one_of(self, digits=(1, 2, 3, 6))
        _require(18 <= self.int_bits <= 63,
                 f"int_bits must lie in 18..63, not {self.int_bits}")
        _ = self.multiplier

    @property
    def multiplier(self) -> MultiplierConfig:
        """Mantissa times mantissa; each takes a sign bit."""
        return MultiplierConfig(a_bits=MANTISSA_BITS + 1, b_bits=MANTISSA_BITS + 1,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def latency(self) -> dict[str, int]:
        """Cycles from request to response of each operation, whatever the operands."""
        taken = {"from_int": 2 + self.shifts, "mul": self.multiplier.latency + 1,
                 "div": QUOTIENT_DIGITS // self.digits + 2}
        return {name: taken[name] for name in self.operations}


@dataclass(frozen=True, kw_only=True)
class MixedFloatConfig:
    """Geometry of a unit of all operations of which the frequent ones are quick."""

    digits: int = 3
    int_bits: int = 63
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _ = self.quick

    @property
    def quick(self) -> QuickFloatConfig:
        """Unit of the frequent operations."""
        return QuickFloatConfig(digits=self.digits, int_bits=self.int_bits, shifts=2,
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def slow(self) -> SmallFloatUnitConfig:
        """Unit of the others."""
        return SmallFloatUnitConfig()

    @property
    def ahead(self) -> int:
        """Cycles from a request to the unit that it is for."""
        return 1

    @property
    def latency(self) -> dict[str, int]:
        """Cycles from request to response of each operation, whatever the operands."""
        return {name: self.ahead + cycles
                for name, cycles in {**self.slow.latency, **self.quick.latency}.items()}
