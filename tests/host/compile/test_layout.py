# SPDX-License-Identifier: Apache-2.0
"""Where each weight lies, read back one beat at a time."""

import numpy as np
import pytest

from golden_model.config import ArrayConfig
from golden_model.formats import unpack_2bit, unpack_base3
from host.compile import layout

ARRAYS = [ArrayConfig(rows=2, lanes=4), ArrayConfig(rows=1, lanes=7),
          ArrayConfig(rows=3, lanes=5, packing="2bit")]


def trits_of(array: ArrayConfig, beat: np.ndarray) -> np.ndarray:
    unpack = unpack_2bit if array.packing == "2bit" else unpack_base3
    per_byte = 4 if array.packing == "2bit" else 5
    return unpack(beat, len(beat) * per_byte)[:array.macs_per_cycle]


def matrix(m: int, k: int, peak: int = 1) -> np.ndarray:
    return np.random.default_rng(m * k).integers(-peak, peak + 1, (m, k)).astype(np.int8)


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_a_row_is_one_burst(array: ArrayConfig) -> None:
    given = matrix(5, 17)
    beats = layout.rows(array, given)
    blocks = -(-17 // array.macs_per_cycle)
    for row in range(5):
        burst = beats[row * blocks:(row + 1) * blocks]
        got = np.concatenate([trits_of(array, beat) for beat in burst])
        assert got[:17].tolist() == given[row].tolist()
        assert not got[17:].any()
    assert beats.shape == (5 * blocks, layout.beat_bytes(array))


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_a_column_is_one_burst(array: ArrayConfig) -> None:
    given = matrix(9, 4)
    assert (layout.columns(array, given) == layout.rows(array, given.T.copy())).all()


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_planes_of_a_block_lie_together_the_top_one_first(array: ArrayConfig) -> None:
    codes = matrix(7, 9, 13)
    tiles, blocks = -(-9 // array.lanes), -(-7 // array.rows)
    beats = layout.planes(array, codes).reshape(blocks, 3, tiles, -1)
    for row in range(7):
        for column in range(9):
            digits = [int(trits_of(array, beats[row // array.rows, plane, column // array.lanes])
                          .reshape(array.rows, array.lanes)[row % array.rows, column % array.lanes])
                      for plane in range(3)]
            assert 9 * digits[0] + 3 * digits[1] + digits[2] == codes[row, column]


def test_words_are_whole_in_a_beat() -> None:
    array = ArrayConfig(rows=2, lanes=20)   # 8 bytes a beat
    beats = layout.words(array, np.array([1, -2, 3, -4, 5, -6, 7]), 12, 2)
    assert beats.shape == (2, 8)
    first, second = (int.from_bytes(beat.tobytes(), "little") for beat in beats)
    assert [first >> 12 * n & 0xFFF for n in range(5)] == [1, 0xFFE, 3, 0xFFC, 0]
    assert [second >> 12 * n & 0xFFF for n in range(4)] == [5, 0xFFA, 7, 0]
    with pytest.raises(ValueError, match="6 values of 12 bits do not fit a beat of 64 bits"):
        layout.words(array, np.zeros(6, np.int64), 12, 6)
