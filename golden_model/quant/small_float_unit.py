# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.small_float_unit`: which operation is which function."""

from golden_model import smallfloat
from golden_model.arrays import Floats
from golden_model.quant_config import SmallFloatUnitConfig

__all__ = ["compute", "cycles"]


def compute(operation: str, a: Floats, b: Floats) -> Floats:
    """Compute ``mul``, ``div``, ``sqrt`` or ``add`` of small floats; ``sqrt`` ignores `b`.

    ``from_int`` is :func:`golden_model.smallfloat.from_int`, which takes integers.

    Raises
    ------
    ValueError
        The unit has no such operation.
    """
    match operation:
        case "mul":
            return smallfloat.mul(a, b)
        case "div":
            return smallfloat.div(a, b)
        case "sqrt":
            return smallfloat.sqrt(a)
        case "add":
            return smallfloat.add(a, b)
    raise ValueError(f"operation must be one of mul, div, sqrt, add, not {operation!r}")


def cycles(config: SmallFloatUnitConfig, operations: list[str]) -> int:
    """Cycles from the first request to the last response of operations issued back to back."""
    return sum(config.latency[operation] + 1 for operation in operations) - 1
