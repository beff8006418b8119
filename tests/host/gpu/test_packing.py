# SPDX-License-Identifier: Apache-2.0
"""Where each weight lies: literal words, and every place by its definition."""

import numpy as np
import pytest

from host.gpu import packing

RNG = np.random.default_rng(5)


def test_a_row_of_three_has_these_words():
    words = packing.pack_rows(np.array([[1, -1, 0, 0, 1]]))
    assert words.shape == (1, 1, 4, 4)
    assert words[0, 0, 0].tolist() == [0b11, 0, 0x100, 0]   # columns 0 and 4; column 1
    assert not words[0, 0, 1:].any()


def test_a_level_is_in_twos_complement():
    words = packing.pack_levels(np.array([[-13, 5]]))          # 10011, 00101
    assert words.shape == (1, 1, 5, 4, 2)
    assert words[0, 0, :, 0, 0].tolist() == [0x101, 0x001, 0x100, 0, 0x001]


def test_a_column_holds_sixteen_rows_a_word():
    words = packing.pack_columns(np.array([[1, 0], [-1, 0], [0, -1]]))
    assert words.shape == (2, 16)
    assert [hex(word) for word in words[:, 0]] == ["0x55555552", "0x55555545"]
    assert (words[:, 1:] == 0x55555555).all()                 # rows that are not there are zero


def test_entries_are_an_index_and_a_byte():
    entries = packing.pack_entries(np.array([0, 5, 0, -1, -128]))
    assert [hex(entry) for entry in entries] == ["0x5000001", "0xff000003", "0x80000004"]
    assert packing.pack_entries(np.zeros(4, np.int8)).size == 0


def test_codes_are_padded_with_zeros():
    padded = packing.pad_codes(np.array([[3, -128]]))
    assert padded.dtype == np.int8
    assert padded.shape == (1, 256)
    assert padded[0, :3].tolist() == [3, -128, 0]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 255), (17, 257), (35, 513)])
def test_every_weight_is_at_its_place(rows, columns):
    trits = RNG.integers(-1, 2, (rows, columns))
    levels = RNG.integers(-13, 14, (rows, columns))
    by_row, by_plane = packing.pack_rows(trits), packing.pack_levels(levels)
    by_code, by_column = packing.pack_codes(trits), packing.pack_columns(trits)
    m, k = np.indices((rows, columns))
    chunk, half, place, i, b = k // 256, k // 128 % 2, k // 32 % 4, k // 4 % 8, k % 4
    bit = (8 * b + i).astype(np.uint32)
    plus, minus = (by_row[m, chunk, place, 2 * sign + half] >> bit & 1 for sign in (0, 1))
    assert (plus.astype(int) - minus == trits).all()
    planes = [by_plane[m, chunk, p, place, half].astype(np.int64) >> bit & 1 for p in range(5)]
    assert (sum(plane << p for p, plane in enumerate(planes[:4])) - 16 * planes[4] == levels).all()
    f, h = k // 8 % 4, k // 4 % 2
    codes = by_code[m // 16, k // 128, m % 8, place, h, m // 8 % 2] >> (8 * b + 2 * f)
    assert ((codes & 3).astype(int) - 1 == trits).all()
    codes = by_column[k, m // 16] >> (2 * (m % 16)).astype(np.uint32)
    assert ((codes & 3).astype(int) - 1 == trits).all()


def test_sizes_come_in_whole_chunks_and_tiles():
    assert [packing.depth_of(k) for k in (1, 256, 257, 6912)] == [1, 1, 2, 27]
    assert [packing.pitch_of(m) for m in (1, 256, 257, 2560)] == [16, 16, 32, 160]


@pytest.mark.parametrize("pack", [packing.pack_rows, packing.pack_codes, packing.pack_columns])
@pytest.mark.parametrize("wrong", [np.array([[2]]), np.array([1]), np.zeros((0, 3), np.int8)])
def test_what_is_no_ternary_matrix_is_refused(pack, wrong):
    with pytest.raises(ValueError, match="magnitude 1"):
        pack(wrong)


def test_what_is_no_level_is_refused():
    with pytest.raises(ValueError, match="magnitude 13"):
        packing.pack_levels(np.array([[-14]]))
