# SPDX-License-Identifier: Apache-2.0
"""Codes of one key, value or query vector of one head: one scale a vector.

Mid-rise codes ``u`` of b bits stand for ``(2 u - L) * scale`` with ``L = 2**b - 1``: an unsigned
absmax code, as section 3.1 of arXiv:2411.04965 words it, that wastes no level.  Symmetric codes
stand for ``(u - 2**(b - 1)) * scale``, min/max codes for ``(u - z) * scale`` with a zero point z of
their own for each vector.  The factor of the scale is called the code's *step* below.
"""

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.formats import KV_ZERO_BITS, decode_kv_scale, encode_kv_scale
from golden_model.quant.activations import EPS

__all__ = ["decode_row_scale", "encode_row_scale", "quantize_query", "quantize_query_float",
           "quantize_row", "quantize_row_float", "query_levels", "row_levels", "row_peak",
           "row_range", "row_scale", "row_steps", "row_zeros"]

UNQUANTIZED = 16
"""Bits that mean "left alone" in the reference."""


def row_peak(bits: int, code: str) -> int:
    """Largest magnitude of a step."""
    return 1 << bits - 1 if code == "symmetric" else (1 << bits) - 1


def row_steps(u: Ints, bits: int, code: str, zeros: Ints | int = 0) -> Ints:
    """Map codes to steps: ``2 u - L``, ``u - 2**(b - 1)``, or ``u - z`` with `zeros` [...]."""
    if code == "minmax":
        return np.asarray(u - np.asarray(zeros)[..., None])
    return 2 * u - ((1 << bits) - 1) if code == "midrise" else u - (1 << bits - 1)


def row_levels(bits: int, code: str) -> int:
    """Levels that a vector's range is divided into."""
    return (1 << bits - 1) - 1 if code == "symmetric" else (1 << bits) - 1


def row_range(x: Ints, code: str) -> Ints:
    """Range [...] of words [..., n]: their largest magnitude; of min/max codes how far they reach.

    From the least word, or zero, to the largest, or zero: 24 bits.
    """
    if code == "minmax":
        return np.asarray(np.maximum(x.max(axis=-1), 0) - np.minimum(x.min(axis=-1), 0))
    return np.asarray(np.abs(x).max(axis=-1))


def _ratio(x: Ints, bits: int, code: str) -> Floats:
    """Levels to a unit of each vector."""
    return smallfloat.div(smallfloat.constant(row_levels(bits, code)),
                          smallfloat.from_int(row_range(x, code)))


def row_zeros(x: Ints, bits: int, code: str) -> Ints:
    """Zero points [...] of words [..., n]: the code of a zero; 0 where codes have none."""
    if code != "minmax":
        return np.zeros(x.shape[:-1], np.int64)
    lowest = np.minimum(x.min(axis=-1), 0)
    return np.asarray(np.rint(-lowest * _ratio(x, bits, code)), np.int64)


def encode_row_scale(scale: Floats, zeros: Ints, code: str) -> Ints:
    """Words of 16 bits that are stored with rows: KV scales, of min/max codes with zero points.

    Those take the place of the lowest `KV_ZERO_BITS` bits.
    """
    if code == "minmax":
        return encode_kv_scale(scale, KV_ZERO_BITS).astype(np.int64) + zeros
    return encode_kv_scale(scale).astype(np.int64)


def decode_row_scale(words: Ints, code: str) -> tuple[Floats, Ints]:
    """Scales and zero points of what is stored with rows."""
    words = np.asarray(words, np.int64)
    zeros = words % (1 << KV_ZERO_BITS) if code == "minmax" else np.zeros_like(words)
    return decode_kv_scale(words - zeros), zeros


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
    A zero vector has scale zero and every code ``2**(bits - 1)``, of min/max codes 0.
    :func:`row_zeros` has their zero points.
    """
    levels, ratio = row_levels(bits, code), _ratio(x, bits, code)[..., None]
    # All sums are exact: 24 + 16 bits, at most 2**17 in size.
    if code == "midrise":
        u = np.rint((x * ratio + levels) / 2)
    else:
        zeros = row_zeros(x, bits, code)[..., None] if code == "minmax" else levels + 1
        u = np.rint(x * ratio) + zeros
    codes = np.clip(u, 0, (1 << bits) - 1).astype(np.int64)
    exact = row_scale(x, scale, bits, code)
    return codes, decode_kv_scale(encode_kv_scale(exact, KV_ZERO_BITS * (code == "minmax")))


def row_scale(x: Ints, scale: Floats, bits: int, code: str) -> Floats:
    """Scales of steps [...] of words [..., n] of `scale`, ahead of their rounding to KV scales."""
    return smallfloat.div(smallfloat.mul(smallfloat.from_int(row_range(x, code)), scale),
                          smallfloat.constant(row_levels(bits, code)))


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
