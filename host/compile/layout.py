# SPDX-License-Identifier: Apache-2.0
"""How matrices, gains and tables lie in beats of the image.

Every function returns uint8 [beats, bytes], byte 0 of a beat in its lowest bits.
"""


import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes, Ints
from golden_model.config import ArrayConfig
from golden_model.formats import pack_2bit, pack_base3
from golden_model.head_config import PLANES
from golden_model.mac.ternary_array import pack_weights

__all__ = ["Beats", "beat_bytes", "columns", "dense", "heads", "paired", "planes", "rows",
           "words"]

Beats = NDArray[np.uint8]


def beat_bytes(array: ArrayConfig) -> int:
    """Bytes of one beat: the trits that the array takes in a cycle."""
    return -(-array.unpacker.packed_bits // 8)


def dense(array: ArrayConfig, trits: Codes) -> Beats:
    """Matrix [M, K] in the order of the array: blocks of rows, in each its tiles."""
    return pack_weights(array, trits)


def paired(trits: Codes, head_dim: int) -> Codes:
    """Rows of heads in the order of their pairs: row i of a head, then row i + n / 2."""
    heads = trits.reshape(-1, 2, head_dim // 2, trits.shape[1])
    return heads.swapaxes(1, 2).reshape(trits.shape)


def heads(keys: Codes, values: Codes, queries: Codes, head_dim: int, ahead: int) -> Codes:
    """Rows of keys, values and queries; or of each KV head `ahead` queries before all others."""
    if not ahead:
        return np.concatenate([keys, values, queries])
    k, v, q = (part.reshape(len(keys) // head_dim, -1, part.shape[1])
               for part in (keys, values, queries))
    first, others = np.split(q, [ahead * head_dim], axis=1)
    return np.concatenate([first, k, v, others], axis=1).reshape(-1, keys.shape[1])


def planes(array: ArrayConfig, codes: Codes) -> Beats:
    """Three-trit matrix [M, K]: each block of rows has its tiles plane by plane, the top first."""
    left = codes.astype(np.int64)
    parts = []
    tiles = -(-codes.shape[1] // array.lanes)
    for _ in range(PLANES):
        plane = (left + 1) % 3 - 1
        left = (left - plane) // 3
        parts.append(pack_weights(array, plane).reshape(-1, tiles, beat_bytes(array)))
    return np.stack(parts[::-1], axis=1).reshape(-1, beat_bytes(array))


def rows(array: ArrayConfig, trits: Codes) -> Beats:
    """Matrix [M, K] row by row, each in whole beats, so that any row is one burst."""
    width = array.macs_per_cycle
    padded = np.pad(trits, [(0, 0), (0, -trits.shape[1] % width)]).reshape(-1, width)
    pack, per_byte = (pack_2bit, 4) if array.packing == "2bit" else (pack_base3, 5)
    whole = np.pad(padded, [(0, 0), (0, -width % per_byte)])
    return pack(whole.reshape(-1)).reshape(len(whole), -1)


def columns(array: ArrayConfig, trits: Codes) -> Beats:
    """Matrix [M, K] column by column, each in whole beats, so that any column is one burst."""
    return rows(array, np.ascontiguousarray(trits.T))


def words(array: ArrayConfig, values: Ints, bits: int, lanes: int) -> Beats:
    """Vector of signed values, `lanes` of `bits` bits to a word, whole words to a beat.

    Raises
    ------
    ValueError
        One word is longer than a beat.
    """
    size = 8 * beat_bytes(array)
    per_beat = size // (bits * lanes)
    if per_beat == 0:
        raise ValueError(f"{lanes} values of {bits} bits do not fit a beat of {size} bits")
    count = per_beat * lanes
    flat = np.pad(values.reshape(-1), (0, -values.size % count)) & (1 << bits) - 1
    fields = flat.reshape(-1, count)[:, :, None] >> np.arange(bits) & 1
    spread = fields.reshape(len(fields), -1).astype(np.uint8)
    return np.packbits(np.pad(spread, [(0, 0), (0, size - spread.shape[1])]), axis=1,
                       bitorder="little")
