# SPDX-License-Identifier: Apache-2.0
"""Payloads as integers, the way a simulator takes them."""

import numpy as np

from golden_model import smallfloat
from golden_model.formats import pack_2bit, pack_base3

__all__ = ["fields", "from_bytes", "lanes", "pack", "pack_trits", "small", "to_lanes"]

_PACKINGS = {"2bit": pack_2bit, "base3": pack_base3}


def pack(layout, value):
    """Bits of a payload: fields of a structure, elements of an array, or a plain integer."""
    if isinstance(value, int):
        return value
    return layout.const(value).as_bits()


def fields(layout, bits):
    """Undo `pack` for a layout of `amaranth.lib.data`."""
    return layout.from_bits(bits)


def small(value):
    """Small float as the fields of its layout."""
    m, e = smallfloat.split(np.asarray(value))
    return {"m": int(m), "e": int(e)}


def pack_trits(packing, beat):
    """Bits of a beat of trits."""
    return int.from_bytes(_PACKINGS[packing](beat).tobytes(), "little")


def lanes(values, bits):
    """Bits of each row of `values` [n, lanes], ``bits`` bits a lane, lane 0 least significant.

    The same as packing an array layout row by row, at the speed of NumPy.
    """
    codes = np.asarray(values, np.int64)[..., None] >> np.arange(bits) & 1
    rows = np.packbits(codes.astype(np.uint8).reshape(len(codes), -1), axis=1, bitorder="little")
    return from_bytes(rows)


def from_bytes(rows):
    """Integers of byte rows [n, bytes], byte 0 least significant."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.asarray(rows, np.uint8)]


def to_lanes(words, count, bits):
    """Undo `lanes` for signed lanes: [n, count] from integers, higher bits ignored."""
    size = -(-count * bits // 8)
    mask = (1 << count * bits) - 1
    data = np.frombuffer(b"".join((word & mask).to_bytes(size, "little") for word in words),
                         np.uint8).reshape(len(words), size)
    flat = np.unpackbits(data, axis=1, bitorder="little")[:, :count * bits]
    weights = 1 << np.arange(bits, dtype=np.int64)
    weights[-1] = -weights[-1]
    return flat.reshape(len(words), count, bits).astype(np.int64) @ weights
