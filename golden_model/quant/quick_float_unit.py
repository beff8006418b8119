# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.quick_float_unit`: which operation is which function."""

from golden_model.arrays import Floats
from golden_model.quant.small_float_unit import compute as compute_all
from golden_model.quick_float_config import QuickFloatConfig

__all__ = ["compute", "cycles"]


def compute(config: QuickFloatConfig, operation: str, a: Floats, b: Floats) -> Floats:
    """Compute ``mul`` or ``div`` of small floats, as the slower unit does.

    Raises
    ------
    ValueError
        The unit was not built for that operation.
    """
    if operation not in config.operations:
        raise ValueError(f"operation must be one of {', '.join(config.operations)}, not "
                         f"{operation!r}")
    return compute_all(operation, a, b)


def cycles(config: QuickFloatConfig, operations: list[str]) -> int:
    """Cycles from the first request to the last response of operations issued back to back."""
    return sum(config.latency[operation] + 1 for operation in operations) - 1
