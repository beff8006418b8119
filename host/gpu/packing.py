# SPDX-License-Identifier: Apache-2.0
"""How matrices and vectors lie in the GPU's memory."""

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes
from golden_model.formats import THREE_TRITS_PEAK

__all__ = ["CHUNK", "LEVEL_PLANES", "depth_of", "pack_codes", "pack_columns",
           "pack_entries", "pack_levels", "pack_rows", "pad_codes", "pitch_of"]

CHUNK = 256
"""Columns that one tensor-core product of bits takes."""
LEVEL_PLANES = 5
"""Bits of a weight of three trits, in two's complement."""
_TILE = 256  # rows in a column's packing come in whole tiles


def depth_of(columns: int) -> int:
    """Chunks of a row."""
    return -(-columns // CHUNK)


def pitch_of(rows: int) -> int:
    """Words of a packed column: 16 rows each."""
    return -(-rows // _TILE) * _TILE // 16


def _plane_words(planes: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Words of bits [planes, M, K], as [M, depth, plane, half, place].

    Word (half, place) of a chunk holds its columns ``128 half + 32 place ..+ 31``; bit ``8 b + i``
    of it is column ``4 i + b`` of these.
    """
    count, rows, columns = planes.shape
    padded = np.zeros((count, rows, depth_of(columns) * CHUNK), bool)
    padded[..., :columns] = planes
    quads = padded.view("<u4").reshape(count, rows, -1, 2, 4, 8)  # byte b of i: column 4 i + b
    out = np.zeros(quads.shape[:-1], np.uint32)
    for i in range(8):
        out |= quads[..., i] << i
    return out.transpose(1, 2, 0, 3, 4)


def _matrix(values: Codes, peak: int) -> None:
    if values.ndim != 2 or not values.size or values.min() < -peak or values.max() > peak:
        raise ValueError(f"a matrix of integers of magnitude {peak} at most is wanted")


def pack_rows(trits: Codes) -> NDArray[np.uint32]:
    """Pack a ternary matrix [M, K] as rows, for the products over all or listed rows.

    Returns
    -------
    words [M, depth, 4, 4]
        Of each chunk of 256 columns and each place of four, the words of both halves where w = +1,
        then where w = -1: what one thread loads at once.  `_plane_words` says which bit is which.

    Raises
    ------
    ValueError
        It is not a matrix, or holds something else than -1, 0 and 1.
    """
    _matrix(trits, 1)
    words = _plane_words(np.stack([trits == 1, trits == -1]))
    rows, depth = words.shape[:2]
    return np.ascontiguousarray(words.reshape(rows, depth, 4, 4).swapaxes(2, 3))


def pack_levels(levels: Codes) -> NDArray[np.uint32]:
    """Pack the LM head's matrix [M, K] of -13..13: words [M, depth, 5, 4, 2], by plane and place.

    Plane p is bit p of the weight's two's complement; both halves lie side by side.
    """
    _matrix(levels, THREE_TRITS_PEAK)
    codes = levels.astype(np.int8).view(np.uint8)
    planes = np.stack([codes >> plane & 1 for plane in range(LEVEL_PLANES)]).astype(bool)
    return np.ascontiguousarray(_plane_words(planes).swapaxes(3, 4))


def pack_codes(trits: Codes) -> NDArray[np.uint32]:
    """Pack a ternary matrix [M, K] as two-bit codes w + 1, for the product of several vectors.

    Returns
    -------
    words [tiles, pieces, 8, 4, 2, 2]
        Of a tile of 16 rows and a piece of 128 columns, thread (g, q) has the words (h, r): rows
        g + 8 r, columns ``32 q + 8 f + 4 h + b`` in bits ``8 b + 2 f``, for f and b in 0..3.
        Whatever lies behind the matrix is zero trits.
    """
    _matrix(trits, 1)
    rows, columns = trits.shape
    tiles, pieces = -(-rows // 16), 2 * depth_of(columns)
    codes = np.ones((tiles * 16, pieces * 128), np.uint8)
    codes[:rows, :columns] = trits + 1
    quads = codes.view("<u4").reshape(tiles, 2, 8, pieces, 4, 4, 2)  # [tile, r, g, piece, q, f, h]
    words = np.zeros(quads.shape[:5] + quads.shape[6:], np.uint32)
    for f in range(4):
        words |= quads[..., f, :] << 2 * f
    return np.ascontiguousarray(words.transpose(0, 3, 2, 4, 5, 1))


def pack_columns(trits: Codes) -> NDArray[np.uint32]:
    """Pack a ternary matrix [M, K] as columns, for the product over a few elements of x.

    Returns
    -------
    words [K, pitch]
        Sixteen rows a word, the first in the lowest two bits; codes are w + 1.
    """
    _matrix(trits, 1)
    rows, columns = trits.shape
    codes = np.ones((columns, pitch_of(rows), 16), np.uint8)
    codes.reshape(columns, -1)[:, :rows] = trits.T + 1
    words = np.zeros(codes.shape[:2], np.uint32)
    for i in range(16):
        words |= codes[..., i].astype(np.uint32) << 2 * i
    return words


def pack_entries(codes: Codes) -> NDArray[np.uint32]:
    """List the elements [K] of x that are not zero: index in bits 23:0, value in 31:24."""
    index = np.flatnonzero(codes)
    values = codes[index].astype(np.int8).view(np.uint8).astype(np.uint32)
    return (values << 24 | index).astype(np.uint32)


def pad_codes(codes: Codes) -> NDArray[np.int8]:
    """Activation codes [..., K] as bytes [..., depth * 256], zeros behind."""
    out = np.zeros((*codes.shape[:-1], depth_of(codes.shape[-1]) * CHUNK), np.int8)
    out[..., :codes.shape[-1]] = codes
    return out
