# SPDX-License-Identifier: Apache-2.0
"""Number formats: rounding, saturation, ternary packings, KV rows and their 16-bit scale.

Checkpoint layouts of other projects are in :mod:`golden_model.checkpoints`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden_model.arrays import Codes, Floats, Ints

__all__ = [
    "BASE3_CODES",
    "E2M1_DOUBLED",
    "KV_SCALE_BIAS",
    "KV_SCALE_FRACTION_BITS",
    "KV_ZERO_BITS",
    "THREE_TRITS_PEAK",
    "TRITS_PER_BYTE",
    "Bytes",
    "decode_kv_scale",
    "encode_kv_scale",
    "pack_2bit",
    "pack_base3",
    "pack_kv_row",
    "pack_three_trits",
    "round_shift",
    "saturate",
    "unpack_2bit",
    "unpack_base3",
    "unpack_kv_row",
    "unpack_three_trits",
]

Bytes = NDArray[np.uint8]

TRITS_PER_BYTE = 5
BASE3_CODES = 3 ** TRITS_PER_BYTE
"""Byte values that carry five trits, 0 to 242; 243 to 255 are refused."""

THREE_TRITS_PEAK = 13
"""Largest code of three trits: 1 + 3 + 9."""

E2M1_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12)
"""Twice the magnitudes of FP4 E2M1, so that every code is an integer."""

KV_SCALE_FRACTION_BITS = 10
KV_SCALE_BIAS = 50
"""KV scale ``(1024 + f) * 2**(E - 50)``: 2**-40 to almost 2**24."""

KV_ZERO_BITS = 4
"""Low bits of a KV scale that hold the zero point of a min/max row instead."""

_POWERS = 3 ** np.arange(TRITS_PER_BYTE)


def round_shift(x: Ints, by: Ints | int) -> Ints:
    """``x / 2**by`` rounded to nearest, ties to even.

    Parameters
    ----------
    x
        Integers, ``|x| <= 2**60``.
    by
        Places, at least 0; everything from 61 on gives 0.
    """
    places = np.minimum(by, 61)
    floor = x >> places
    twice_rest = x - (floor << places) << 1
    one = np.int64(1) << places
    up = (twice_rest > one) | ((twice_rest == one) & (floor & 1 == 1))
    return np.asarray(floor + up, np.int64)


def saturate(x: Ints, bits: int) -> Ints:
    """Clip to the range of a signed `bits`-bit integer."""
    peak = 1 << bits - 1
    return np.minimum(np.maximum(x, -peak), peak - 1)


def _codes(values: ArrayLike, peak: int, what: str) -> Codes:
    """Check a flat vector of integers in -peak..peak."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise ValueError(f"{what} must be a vector of integers, not {array.dtype}"
                         f"{list(array.shape)}")
    wrong = array[(array < -peak) | (array > peak)]
    if wrong.size:
        raise ValueError(f"{what} must lie in {-peak}..{peak}, not {wrong[0]}")
    return array.astype(np.int8)


def _packed(values: ArrayLike, count: int, per_byte: int) -> Bytes:
    """Check packed bytes against the number of elements that they should hold."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype != np.uint8 and array.size):
        raise ValueError(f"packed data must be a vector of uint8, not {array.dtype}"
                         f"{list(array.shape)}")
    if count < 0:
        raise ValueError(f"count must be at least 0, not {count}")
    if array.size != -(-count // per_byte):
        raise ValueError(f"{count} elements take {-(-count // per_byte)} bytes, not {array.size}")
    return array.astype(np.uint8)


def _padded(values: Codes, multiple: int) -> Codes:
    """Fill up with zeros to whole rows of `multiple` elements."""
    return np.pad(values, (0, -values.size % multiple)).reshape(-1, multiple)


def pack_base3(trits: ArrayLike) -> Bytes:
    """Pack trits five a byte: ``sum (t_j + 1) * 3**j``, the first trit least significant.

    The last byte is filled up with zero trits.  ``ValueError`` names a value that is no trit.
    """
    rows = _padded(_codes(trits, 1, "trits"), TRITS_PER_BYTE)
    return np.asarray((rows + 1) @ _POWERS, np.uint8)


def unpack_base3(packed: ArrayLike, count: int) -> Codes:
    """Inverse of `pack_base3`: the first `count` trits.

    Raises
    ------
    ValueError
        The length does not fit `count`, a byte is above 242, or a padding trit is not zero.
    """
    array = _packed(packed, count, TRITS_PER_BYTE)
    if array.size and array.max() >= BASE3_CODES:
        raise ValueError(f"a base-3 byte is at most {BASE3_CODES - 1}, not {array.max()}")
    trits = (array[:, None] // _POWERS % 3).astype(np.int8).reshape(-1) - np.int8(1)
    if trits[count:].any():
        raise ValueError(f"padding after {count} trits must be zero trits")
    return trits[:count]


def pack_2bit(trits: ArrayLike) -> Bytes:
    """Pack trits four a byte as two's complement (0 is 00, +1 is 01, -1 is 11), first trit lowest.

    The last byte is filled up with zeros.  ``ValueError`` names a value that is no trit.
    """
    rows = _padded(_codes(trits, 1, "trits"), 4).astype(np.uint8) & 3
    return np.asarray((rows << np.arange(0, 8, 2)).sum(axis=1), np.uint8)


def unpack_2bit(packed: ArrayLike, count: int, *, spare_as_zero: bool = False) -> Codes:
    """Inverse of `pack_2bit`: the first `count` trits.

    Parameters
    ----------
    spare_as_zero
        Read code 10 as zero, as the hardware does, instead of refusing it.

    Raises
    ------
    ValueError
        The length does not fit `count`, code 10 occurs, or a padding trit is not zero.
    """
    array = _packed(packed, count, 4)
    codes = (array[:, None] >> np.arange(0, 8, 2) & 3).reshape(-1)
    if not spare_as_zero and (codes == 2).any():
        raise ValueError(f"code 10 stands for no trit (element {int(np.argmax(codes == 2))})")
    trits: Codes = np.array([0, 1, 0, -1], np.int8)[codes]
    if trits[count:].any():
        raise ValueError(f"padding after {count} trits must be zero trits")
    return trits[:count]


def pack_three_trits(codes: ArrayLike) -> Bytes:
    """Pack codes -13..13 as three base-3 planes, t0 then t1 then t2: ``t0 + 3 t1 + 9 t2``."""
    digits = _codes(codes, THREE_TRITS_PEAK, "codes").astype(np.int64) + THREE_TRITS_PEAK
    return np.concatenate([pack_base3(digits // 3 ** j % 3 - 1) for j in range(3)])


def unpack_three_trits(packed: ArrayLike, count: int) -> Codes:
    """Inverse of `pack_three_trits`; raises ``ValueError`` as `unpack_base3` does."""
    planes = np.asarray(packed)
    size = -(-count // TRITS_PER_BYTE)
    if planes.shape != (3 * size,):
        raise ValueError(f"{count} codes take {3 * size} bytes, not {planes.size}")
    t0, t1, t2 = (unpack_base3(plane, count) for plane in np.split(planes, 3))
    return (t0 + 3 * t1 + 9 * t2).astype(np.int8)


def pack_kv_row(codes: ArrayLike, bits: int) -> Bytes:
    """Pack unsigned KV codes of `bits` bits as one little-endian bit string.

    Element i takes bits ``bits * i`` up to ``bits * (i + 1) - 1``; bit b of the string is bit
    ``b % 8`` of byte ``b // 8``; spare bits of the last byte are 0.  Eight 3-bit codes fill three
    bytes.
    """
    array = np.asarray(codes)
    if not 1 <= bits <= 16:
        raise ValueError(f"bits must lie in 1..16, not {bits}")
    if array.ndim != 1 or (array.size and (array.min() < 0 or array.max() >> bits)):
        raise ValueError(f"KV codes must be a vector in 0..{(1 << bits) - 1}")
    stream = array.astype(np.int64)[:, None] >> np.arange(bits) & 1
    return np.packbits(stream.reshape(-1).astype(np.uint8), bitorder="little")


def unpack_kv_row(packed: ArrayLike, count: int, bits: int) -> Ints:
    """Inverse of `pack_kv_row`; ``ValueError`` if the length does not fit `count`."""
    array = np.asarray(packed, np.uint8)
    if array.shape != (-(-count * bits // 8),):
        raise ValueError(f"{count} codes of {bits} bits take {-(-count * bits // 8)} bytes, not "
                         f"{array.size}")
    stream = np.unpackbits(array, bitorder="little")[:count * bits].reshape(count, bits)
    return stream.astype(np.int64) @ (np.int64(1) << np.arange(bits))


def encode_kv_scale(scale: Floats, spare: int = 0) -> NDArray[np.uint16]:
    """Round small floats (ties to even) to KV scales: exponent E in bits 15:10, fraction f below.

    The lowest `spare` bits of f are left out, and zero.  Too large saturates to what all other bits
    give, 65535 with none to spare; too small becomes code 0, which is zero.
    """
    fraction, power = np.frexp(scale)
    hidden = 1 << KV_SCALE_FRACTION_BITS - spare
    # Rounding up to twice `hidden` carries into E by itself, as E and f are one integer.
    mantissa = np.rint(fraction * (2 * hidden)).astype(np.int64)
    field = power.astype(np.int64) - (KV_SCALE_FRACTION_BITS + 1) + KV_SCALE_BIAS
    code = np.clip(field * hidden + mantissa - hidden, 0, 0xFFFF >> spare)
    return np.where(mantissa == 0, 0, code << spare).astype(np.uint16)


def decode_kv_scale(code: ArrayLike) -> Floats:
    """Small float of a KV scale code; exact."""
    field = np.asarray(code, np.int64)
    hidden = 1 << KV_SCALE_FRACTION_BITS
    value = np.ldexp((hidden + field % hidden).astype(np.float64), field // hidden - KV_SCALE_BIAS)
    return np.where(field == 0, 0.0, value)
