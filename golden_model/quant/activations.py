# SPDX-License-Identifier: Apache-2.0
"""Per-token activation quantisers: INT4 absmean, INT8 absmax, FP4 (E2M1) absmax.

A code times the returned scale is the activation.  FP4 codes are twice the E2M1 value, so that all
codes are integers.  The ``_float`` functions are the paper's equations; the others are the exact
model's, which need no eps: an all-zero token has codes and scale zero.
"""

import math

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Codes, Floats, Ints
from golden_model.formats import E2M1_DOUBLED

__all__ = ["EPS", "PEAK", "quantize", "quantize_float", "round_e2m1"]

EPS = 1e-5
"""Added to the statistic that divides, in the reference (equations 2, 3 and 7 leave it open)."""

PEAK = {"int4": 8, "fp4": 12, "int8": 128}
"""Largest magnitude of a code of each format."""

_GRID = np.array(E2M1_DOUBLED, np.float64)
_MIDDLES = (_GRID[1:] + _GRID[:-1]) / 2
# A value on a middle goes to the code with the even mantissa bit, which is every other one.
_LAST_BELOW = np.where(np.arange(7) % 2 == 0, _MIDDLES, np.nextafter(_MIDDLES, 0))


def round_e2m1(x: Floats) -> Floats:
    """Nearest doubled E2M1 code, ties to the even mantissa bit, beyond 12 saturated."""
    return np.copysign(_GRID[np.searchsorted(_LAST_BELOW, np.abs(x))], x) + 0.0


def quantize_float(x: Floats, fmt: str) -> tuple[Codes, Floats]:
    """Codes [..., n] and scales [...] of real activations.

    ``int4`` is equation 7, ``int8`` equation 3 and ``fp4`` equations 8 and 9 of arXiv:2411.04965,
    read as scaled E2M1 (``docs/numerics.md``), each with one statistic a token.
    """
    magnitude = np.abs(x)
    if fmt == "int4":
        beta = np.mean(magnitude, axis=-1)
        root = math.sqrt(7)
        return (np.clip(np.rint(root * x / (beta + EPS)[..., None]), -8, 7).astype(np.int8),
                beta / root)
    gamma = np.max(magnitude, axis=-1)
    if fmt == "int8":
        return (np.clip(np.rint(127 * x / (gamma + EPS)[..., None]), -128, 127).astype(np.int8),
                gamma / 127)
    return round_e2m1(12 * x / (gamma + EPS)[..., None]).astype(np.int8), gamma / 12


def quantize(y: Ints, unit: Floats, fmt: str) -> tuple[Codes, Floats]:
    """Codes [..., n] and small-float scales [...] of integers.

    Parameters
    ----------
    y
        Integers [..., n], ``|y| <= 2**37``: words, or words times gains.
    unit
        Small floats [...]: the real value of one unit of `y`.
    """
    magnitude = np.abs(y)
    if fmt == "int4":
        statistic = smallfloat.from_int(magnitude.sum(axis=-1))
        levels = smallfloat.constant(math.sqrt(7) * y.shape[-1])
    else:
        statistic = smallfloat.from_int(magnitude.max(axis=-1))
        levels = smallfloat.constant(127 if fmt == "int8" else 12)
    ratio = smallfloat.div(levels, statistic)[..., None]
    if fmt == "fp4":
        codes = round_e2m1(y * ratio).astype(np.int8)
    else:
        codes = smallfloat.scale_int(y, ratio, bits=4 if fmt == "int4" else 8).astype(np.int8)
    return codes, smallfloat.mul(smallfloat.div(statistic, levels), unit)
