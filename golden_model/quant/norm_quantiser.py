# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.norm_quantiser`: codes, scale and every cycle of one token."""

from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Codes, Floats, Ints
from golden_model.quant import scale_program
from golden_model.quant.activations import quantize
from golden_model.quant.rms_norm import FixedNorm, rms_norm
from golden_model.quant_config import NormQuantiserConfig, SmallFloatUnitConfig

__all__ = ["Schedule", "levels", "norm_quantise", "residual_schedule", "schedule"]


class Schedule(NamedTuple):
    """Cycles after the command's transfer, if nobody stalls and the unit serves nothing else."""

    codes: int
    """Transfer of the last codes, or words."""
    scale: int
    """Transfer of the scale."""
    command: int
    """Transfer of a next token's waiting command; a residual addition's comes 3 cycles earlier."""


def levels(fmt: str, n: int) -> Floats:
    """Small float that a command carries for a format and a length."""
    return smallfloat.constant({"int4": np.sqrt(7) * n, "fp4": 12, "int8": 127}[fmt])


def norm_quantise(x: Ints, scale: Floats, norm: FixedNorm | None,
                  fmt: str) -> tuple[Codes, Floats]:
    """Quantise one vector of words [n] to codes [n] and a scale, after a norm if there is one."""
    unit = scale
    if norm is not None:
        x, unit = rms_norm(x, scale, norm)
    return quantize(x, unit, fmt)


def schedule(config: NormQuantiserConfig, unit: SmallFloatUnitConfig, n: int,
             norm: bool) -> Schedule:
    """State when one token of `n` elements is done.

    Two passes of ``ceil(n / lanes)`` beats, the second let in after the two operations that the
    codes wait for, the scale's operations beside it.
    """
    beats = -(-n // config.lanes)
    go = beats + config.statistics_latency
    ratio = go + scale_program.cycles(unit, scale_program.RATIO_OPERATIONS)
    codes = ratio + 1 + beats + config.latency
    scale = go + scale_program.cycles(unit, scale_program.operations(norm))
    return Schedule(codes, scale, max(codes, scale) + 5)


def residual_schedule(config: NormQuantiserConfig, n: int) -> Schedule:
    """State when a residual addition of `n` words is done; there is no scale."""
    codes = -(-n // config.lanes) + config.latency
    return Schedule(codes, 0, codes + 5)
