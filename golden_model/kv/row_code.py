# SPDX-License-Identifier: Apache-2.0
"""Codes of one key, value or query vector of one head: absmax, one scale a vector.

Mid-rise codes ``u`` of b bits stand for ``(2 u - L) * scale`` with ``L = 2**b - 1``: an unsigned
absmax code, as section 3.1 of arXiv:2411.04965 words it, that wastes no level.  Symmetric codes
stand for ``(u - 2**(b - 1)) * scale``.  The factor of the scale is called the code's *step* below.
"""

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.formats import decode_kv_scale, encode_kv_scale
from golden_model.quant.activations import EPS

__all__ = ["query_levels", "quantize_query", "quantize_query_float", "quantize_row",
           "quantize_row_float", "row_peak", "row_steps"]

UNQUANTIZED = 16
"""Bits that mean "left alone" in the reference."""


def row_peak(bits: int, code: str) -> int:
    """Largest magnitude of a step."""
    return (1 << bits) - 1 if code == "midrise" else 1 << bits - 1


def row_steps(u: Ints, bits: int, code: str) -> Ints:
    """Map codes to steps: ``2 u - L`` or ``u - 2**(b - 1)``."""
    return 2 * u - ((1 << bits) - 1) if code == "midrise" else u - (1 << bits - 1)


def quantize_row_float(x: Floats, bits: int, code: str) -> Floats:
    """Real vectors [..., n] as their codes give them back; 16 bits leave them alone.

    The divisor has equation 3's eps, which sends values half-way between two codes inwards.
    """
    if bits == UNQUANTIZED:
        return x
    levels = (1 << bits) - 1
    if code == "minmax":
        low, high = np.min(x, axis=-1, keepdims=True), np.max(x, axis=-1, keepdims=True)
        step = np.where(high > low, high - low, 1) / levels
        return np.asarray(np.rint((x - low) / step) * step + low)
    absmax = np.max(np.abs(x), axis=-1, keepdims=True)
    if code == "midrise":
        u = np.rint((x / (absmax + EPS) + 1) / 2 * levels)
        return np.asarray((2 * u - levels) * (absmax / levels))
    half = (1 << bits - 1) - 1
    return np.asarray(np.rint(x / (absmax + EPS) * half) * (absmax / half))


def quantize_row(x: Ints, scale: Floats, bits: int, code: str) -> tuple[Ints, Floats]:
    """Codes [..., n], 0 to ``2**bits - 1``, and scales [...] as the 16-bit KV scale rounds them.

    Parameters
    ----------
    x
        24-bit words [..., n].
    scale
        Small floats [...].

    Notes
    -----
    A zero vector has scale zero and every code ``2**(bits - 1)``.
    """
    midrise = code == "midrise"
    levels = (1 << bits) - 1 if midrise else (1 << bits - 1) - 1
    absmax = smallfloat.from_int(np.abs(x).max(axis=-1))
    ratio = smallfloat.div(smallfloat.constant(levels), absmax)[..., None]
    # Both sums are exact: 24 + 16 bits, at most 2**17 in size.
    u = np.rint((x * ratio + levels) / 2) if midrise else np.rint(x * ratio) + (levels + 1)
    codes = np.clip(u, 0, (1 << bits) - 1).astype(np.int64)
    exact = smallfloat.div(smallfloat.mul(absmax, scale), smallfloat.constant(levels))
    return codes, decode_kv_scale(encode_kv_scale(exact))


def query_levels(bits: int) -> int:
    """Largest query code: ``2**(bits - 1) - 1``; 16 stands for 12 bits, which is fine enough."""
    return (1 << min(bits, 12) - 1) - 1


def quantize_query_float(x: Floats, bits: int) -> Floats:
    """Real queries [..., n] as their symmetric codes give them back; 16 bits leave them alone."""
    if bits == UNQUANTIZED:
        return x
    levels = query_levels(bits)
    absmax = np.max(np.abs(x), axis=-1, keepdims=True)
    return np.asarray(np.rint(x / (absmax + EPS) * levels) * (absmax / levels))


def quantize_query(x: Ints, scale: Floats, bits: int) -> tuple[Ints, Floats]:
    """Symmetric codes [..., n] and small-float scales [...] of 24-bit words."""
    levels = smallfloat.constant(query_levels(bits))
    absmax = smallfloat.from_int(np.abs(x).max(axis=-1))
    codes = smallfloat.scale_int(x, smallfloat.div(levels, absmax)[..., None], bits=min(bits, 12))
    return codes, smallfloat.mul(smallfloat.div(absmax, levels), scale)
