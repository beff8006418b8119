# SPDX-License-Identifier: Apache-2.0
"""Small floats, the exact model's scales: ``m * 2**e``, a 16-bit mantissa and an 8-bit exponent.

``m`` is 0 (then ``e`` is 0 too) or normalised, 2**15 to 2**16 - 1; ``e`` lies in -128..127.  There
is no sign, no infinity and no NaN.  Each operation rounds the exact result once, to nearest, ties
to even; a result that is too large becomes `LARGEST`, one below `SMALLEST` becomes zero.

Arrays carry a small float as the float64 of the same value, and float64 arithmetic followed by one
rounding to 16 bits is *exactly* the rounding above, on every IEEE machine:

- a product of two 16-bit mantissas has 32 bits, and an integer of 37 bits times a mantissa has 53;
- a quotient or a root of 16-bit mantissas is never a tie and never closer to one than 2**-35 of its
  value, far outside float64's own rounding;
- a sum is exact while the exponents differ by at most 36; beyond that the smaller operand is below
  2**-20 of the larger one's last place, and both roundings drop it.

Hardware holds `split`'s two integers; ``docs/numerics.md`` gives the integer algorithms.
"""

import functools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden_model.arrays import Codes, Floats, Ints

__all__ = [
    "EXPONENT_MAX",
    "EXPONENT_MIN",
    "LARGEST",
    "MANTISSA_BITS",
    "SMALLEST",
    "add",
    "constant",
    "div",
    "exponent",
    "from_bits",
    "from_float",
    "from_int",
    "join",
    "mul",
    "scale_int",
    "shift",
    "split",
    "sqrt",
    "to_bits",
]

MANTISSA_BITS = 16
EXPONENT_MIN, EXPONENT_MAX = -128, 127
SMALLEST = 2.0 ** (MANTISSA_BITS - 1 + EXPONENT_MIN)
"""Least positive small float: m = 2**15, e = -128."""
LARGEST = (2.0 ** MANTISSA_BITS - 1) * 2.0 ** EXPONENT_MAX

_DROPPED_BITS = 53 - MANTISSA_BITS
_HALF = 1 << _DROPPED_BITS - 1
_KEPT = ~((1 << _DROPPED_BITS) - 1)
_TOWARDS_ZERO_DIVISOR = 2.0 ** -400  # any positive small float over this exceeds LARGEST


def _limit(x: Floats) -> Floats:
    """Saturate at LARGEST, flush below SMALLEST to zero."""
    return np.minimum(x, LARGEST) * (x >= SMALLEST)


def _round_one(x: float) -> float:
    """Nearest small float of one Python float >= 0."""
    fraction, power = math.frexp(min(x, 2 * LARGEST))
    rounded = math.ldexp(round(fraction * 2 ** MANTISSA_BITS), power - MANTISSA_BITS)
    return min(rounded, LARGEST) if rounded >= SMALLEST else 0.0


def _round(x: ArrayLike) -> Floats:
    """Nearest small float of float64 `x` >= 0, ties to even.

    Works on float64's bits, several times faster than `frexp` and `ldexp`: a carry out of the
    significand runs into the exponent, as it should.  Decoding token by token has one scale at a
    time, for which Python's floats are faster still.
    """
    values = np.asarray(x, np.float64)
    if values.size == 1:
        return np.full(values.shape, _round_one(values.item()))
    bits = values.view(np.int64)
    last = bits >> _DROPPED_BITS & 1
    return _limit((bits + (_HALF - 1 + last) & _KEPT).view(np.float64))


def from_float(x: ArrayLike) -> Floats:
    """Nearest small float of real constants (compile time only).

    Raises
    ------
    ValueError
        A value is negative or not finite.
    """
    values = np.asarray(x, np.float64)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"a small float must be finite and at least 0, not {np.min(values)}")
    return _round(values)


@functools.cache
def constant(x: float) -> Floats:
    """`from_float` of one number, remembered."""
    return from_float(x)


def from_int(n: ArrayLike) -> Floats:
    """Nearest small float of integers 0 <= n < 2**63."""
    values = np.asarray(n, np.int64)
    if values.size and values.max() < 1 << 53:
        return _round(values)
    low = values & 0x3FF
    # Above 2**53, the ten bits that float64 could not hold are kept as one sticky bit.
    sticky = values - low | (low != 0).astype(np.int64) << 10
    return _round(np.where(values < 1 << 53, values, sticky))


def mul(a: Floats, b: Floats) -> Floats:
    """Product."""
    return _round(a * b)


def div(a: Floats, b: Floats) -> Floats:
    """Quotient; total: ``x / 0`` is LARGEST for x > 0, and ``0 / 0`` is 0."""
    return _round(a / np.where(b == 0, _TOWARDS_ZERO_DIVISOR, b))


def add(a: Floats, b: Floats) -> Floats:
    """Sum."""
    return _round(a + b)


def sqrt(a: Floats) -> Floats:
    """Square root."""
    return _round(np.sqrt(a))


def shift(a: Floats, by: Ints | int) -> Floats:
    """Scale by ``2**by``, saturating or flushing to zero at the ends of the exponent's range."""
    return _limit(np.ldexp(a, by))


def scale_int(y: Ints | Floats | Codes, scale: Floats, by: Ints | int = 0, bits: int = 24) -> Ints:
    """``round_half_even(y * scale * 2**by)`` saturated to signed `bits`: the elementwise unit.

    Parameters
    ----------
    y
        Integers, ``|y| <= 2**37``, so that the product with a mantissa is exact until rounded.
    scale
        Small floats that broadcast against `y`.
    by
        Extra power of two, e.g. the residual stream's fraction bits.
    """
    peak = 2.0 ** (bits - 1)
    rounded = np.rint(np.ldexp(y * scale, by))
    return np.minimum(np.maximum(rounded, -peak), peak - 1).astype(np.int64)


def exponent(a: Floats) -> Ints:
    """Exponent ``e``; 0 for zero."""
    return split(a)[1]


def split(a: Floats) -> tuple[Ints, Ints]:
    """Mantissas and exponents, the integers that hardware holds."""
    fraction, power = np.frexp(a)
    mantissa = (fraction * 2.0 ** MANTISSA_BITS).astype(np.int64)
    return mantissa, np.where(mantissa == 0, 0, power.astype(np.int64) - MANTISSA_BITS)


def join(m: ArrayLike, e: ArrayLike) -> Floats:
    """Small floats of mantissas and exponents.

    Raises
    ------
    ValueError
        A mantissa is not normalised, an exponent is out of range, or a zero has an exponent.
    """
    mantissa, power = np.asarray(m, np.int64), np.asarray(e, np.int64)
    normal = (mantissa >= 1 << MANTISSA_BITS - 1) & (mantissa < 1 << MANTISSA_BITS)
    in_range = (power >= EXPONENT_MIN) & (power <= EXPONENT_MAX)
    if not ((normal & in_range) | ((mantissa == 0) & (power == 0))).all():
        raise ValueError(f"not normalised small floats: mantissa {m!r}, exponent {e!r}")
    return np.ldexp(mantissa.astype(np.float64), power)


def to_bits(a: Floats) -> NDArray[np.uint32]:
    """24-bit storage: the exponent's two's complement in bits 23:16, the mantissa in bits 15:0."""
    mantissa, power = split(a)
    return ((power & 0xFF) << MANTISSA_BITS | mantissa).astype(np.uint32)


def from_bits(word: ArrayLike) -> Floats:
    """Inverse of `to_bits`; refuses (``ValueError``) words that `join` would refuse."""
    words = np.asarray(word, np.int64)
    power = (words >> MANTISSA_BITS & 0xFF ^ 0x80) - 0x80
    return join(words & 0xFFFF, power)
