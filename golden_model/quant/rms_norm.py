# SPDX-License-Identifier: Apache-2.0
"""RMSNorm ahead of a quantiser: the norm's division moves into the scale.

The quantisers are scale-invariant, so ``x * gain`` carries the codes and the root mean square only
enters the one scale of the token.
"""

import math
from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints

__all__ = ["GAIN_BITS", "FixedNorm", "fix_norm", "rms_norm", "rms_norm_float"]

GAIN_BITS = 12


class FixedNorm(NamedTuple):
    """Constants of one norm over n elements."""

    gain: Ints
    """Gain codes [n], -2047..2047."""
    scale: Floats
    """Small float: real value of one unit of the gain, times ``sqrt(n)``."""
    eps: Floats
    """Small float: eps times n, which joins the sum of squares instead of their mean."""


def fix_norm(gain: Floats, eps: float) -> FixedNorm:
    """Quantise a gain vector [n] to 12 bits and fold n into the other constants (compile time)."""
    peak = (1 << GAIN_BITS - 1) - 1
    unit = smallfloat.from_float(np.max(np.abs(gain)) / peak)
    codes = np.rint(gain / unit) if unit > 0 else np.zeros_like(gain)
    return FixedNorm(gain=np.clip(codes, -peak, peak).astype(np.int64),
                     scale=smallfloat.from_float(unit * math.sqrt(gain.size)),
                     eps=smallfloat.from_float(gain.size * eps))


def rms_norm_float(x: Floats, gain: Floats, eps: float) -> Floats:
    """``x / sqrt(mean(x**2) + eps) * gain`` over the last axis."""
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True)
    normed: Floats = x / np.sqrt(mean_square + eps) * gain
    return normed


def rms_norm(x: Ints, scale: Floats, norm: FixedNorm) -> tuple[Ints, Floats]:
    """Gained words and the real value of one unit of them after the norm.

    Parameters
    ----------
    x
        24-bit words [..., n], fewer than 2**17 of them.
    scale
        Small floats [...]: the real value of one unit of `x`.
    norm
        Constants from `fix_norm`.

    Returns
    -------
    y
        ``x * norm.gain`` [..., n], exact, 35 bits.
    unit
        Small floats [...].
    """
    square_sum = smallfloat.from_int(np.einsum("...i,...i->...", x, x))
    real = smallfloat.mul(square_sum, smallfloat.mul(scale, scale))
    root = smallfloat.sqrt(smallfloat.add(real, norm.eps))
    return x * norm.gain, smallfloat.div(smallfloat.mul(scale, norm.scale), root)
