# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.scale_program`: values and cycles of the scalar arithmetic."""

from typing import NamedTuple

from golden_model import smallfloat
from golden_model.arrays import Floats
from golden_model.quant_config import FloatUnitConfig

__all__ = ["RATIO_OPERATIONS", "Scalars", "cycles", "operations", "scalars"]

RATIO_OPERATIONS = ["from_int", "div"]
"""What the codes wait for."""


class Scalars(NamedTuple):
    """What multiplies gained words into codes, and what multiplies codes into activations."""

    ratio: Floats
    scale: Floats


def operations(norm: bool) -> list[str]:
    """Operations in the order in which they run."""
    middle = ["mul", "from_int", "mul", "add", "sqrt", "mul", "div"]
    return [*RATIO_OPERATIONS, "div", *(middle if norm else []), "mul"]


def cycles(unit: FloatUnitConfig, names: list[str]) -> int:
    """Cycles from ``go`` to the last response, on a unit that serves nothing else."""
    return sum(unit.latency[name] + 1 for name in names)


def scalars(statistic: int, levels: Floats, scale: Floats) -> Scalars:
    """Ratio and scale without a norm."""
    total = smallfloat.from_int(statistic)
    return Scalars(smallfloat.div(levels, total),
                   smallfloat.mul(smallfloat.div(total, levels), scale))


def norm_unit(square_sum: int, scale: Floats, norm_scale: Floats, eps: Floats) -> Floats:
    """Real value of one unit of ``x * gain`` after the norm."""
    real = smallfloat.mul(smallfloat.from_int(square_sum), smallfloat.mul(scale, scale))
    root = smallfloat.sqrt(smallfloat.add(real, eps))
    return smallfloat.div(smallfloat.mul(scale, norm_scale), root)
