# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.scale_products`."""

from golden_model import smallfloat
from golden_model.arrays import Floats
from golden_model.quant_config import FloatUnitConfig

__all__ = ["latency", "products"]


def products(scale: Floats, factors: list[Floats]) -> list[Floats]:
    """Product with each factor."""
    return [smallfloat.mul(scale, factor) for factor in factors]


def latency(unit: FloatUnitConfig, count: int) -> int:
    """Cycles from ``i`` to ``o.valid``, on a unit that serves nobody else."""
    return 1 + count * (unit.latency["mul"] + 1)
