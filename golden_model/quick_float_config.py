# SPDX-License-Identifier: Apache-2.0
"""Parameters of the quick small-float unit (standard library only)."""

from dataclasses import dataclass

from golden_model.config import _one_of, _require
from golden_model.quant_config import MANTISSA_BITS, MultiplierConfig

__all__ = ["OPERATIONS", "QUOTIENT_DIGITS", "QuickFloatConfig"]

OPERATIONS = ("from_int", "mul", "div", "sqrt", "add")
"""What such a unit can be built for."""

QUOTIENT_DIGITS = 18
"""Digits of a quotient or a root ahead of rounding: the mantissa, one for its normalisation, one
beyond."""


@dataclass(frozen=True, kw_only=True)
class QuickFloatConfig:
    """Geometry of a small-float unit that takes few cycles an operation."""

    operations: tuple[str, ...] = ("from_int", "mul", "div")
    """What it is built for."""
    digits: int = 3
    """Digits of a quotient or a root a cycle, one adder each, one behind the other."""
    int_bits: int = 32
    """Bits of the integers that it converts."""
    shifts: int = 1
    """Cycles in which an integer is normalised."""
    registered: bool = False
    """Whether a request is held in a register first, which takes a cycle more: for one that comes
    from far."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _one_of(self, shifts=(1, 2), registered=(False, True))
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
        digits = QUOTIENT_DIGITS // self.digits + 2
        taken = {"from_int": 2 + self.shifts, "mul": self.multiplier.latency + 1, "div": digits,
                 "sqrt": digits, "add": 4}
        return {name: self.registered + taken[name] for name in self.operations}
