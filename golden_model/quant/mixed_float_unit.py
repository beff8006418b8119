# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.mixed_float_unit`: values are those of the slower unit."""

from golden_model.quant.small_float_unit import compute
from golden_model.quick_float_config import MixedFloatConfig

__all__ = ["compute", "cycles"]


def cycles(config: MixedFloatConfig, operations: list[str]) -> int:
    """Cycles from the first request to the last response of operations issued back to back."""
    return sum(config.latency[operation] + 1 for operation in operations) - 1
