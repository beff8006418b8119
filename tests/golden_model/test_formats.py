# SPDX-License-Identifier: Apache-2.0
"""Packings and number formats: literal vectors, round trips, refusals."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model import formats, smallfloat

TRITS = st.lists(st.integers(-1, 1), max_size=23)


@pytest.mark.parametrize(("trits", "packed"), [
    ([], []), ([0], [121]), ([1], [122]), ([-1], [120]), ([0, 1], [124]), ([-1] * 5, [0]),
    ([1] * 5, [242]), ([1, 0, -1, 1, 0], [2 + 3 + 0 + 54 + 81]), ([0] * 5 + [1, 1], [121, 125]),
])
def test_base3_literals(trits, packed):
    assert formats.pack_base3(np.array(trits, np.int8)).tolist() == packed
    assert formats.unpack_base3(np.array(packed, np.uint8), len(trits)).tolist() == trits


@pytest.mark.parametrize(("trits", "packed"), [
    ([], []), ([1], [0b01]), ([-1], [0b11]), ([1, -1, 0, 1], [0b01_00_11_01]),
    ([0, 0, 0, -1, 1], [0b11_00_00_00, 0b01]),
])
def test_2bit_literals(trits, packed):
    assert formats.pack_2bit(np.array(trits, np.int8)).tolist() == packed
    assert formats.unpack_2bit(np.array(packed, np.uint8), len(trits)).tolist() == trits


@pytest.mark.parametrize(("code", "planes"), [
    (0, [121, 121, 121]), (1, [122, 121, 121]), (2, [120, 122, 121]), (13, [122, 122, 122]),
    (-13, [120, 120, 120]), (-5, [122, 122, 120]),  # -5 = 1 + 3 - 9
])
def test_three_trit_literals(code, planes):
    assert formats.pack_three_trits(np.array([code])).tolist() == planes
    assert formats.unpack_three_trits(np.array(planes, np.uint8), 1).tolist() == [code]


@given(TRITS)
def test_trits_round_trip(trits):
    array = np.array(trits, np.int8)
    assert formats.unpack_base3(formats.pack_base3(array), len(trits)).tolist() == trits
    assert formats.unpack_2bit(formats.pack_2bit(array), len(trits)).tolist() == trits


@given(st.lists(st.integers(-13, 13), max_size=23))
def test_three_trits_round_trip(codes):
    packed = formats.pack_three_trits(np.array(codes, np.int8))
    assert formats.unpack_three_trits(packed, len(codes)).tolist() == codes


@pytest.mark.parametrize(("call", "message"), [
    (lambda: formats.pack_base3(np.array([0, 2])), "-1..1, not 2"),
    (lambda: formats.pack_2bit(np.array([-2])), "-1..1, not -2"),
    (lambda: formats.pack_three_trits(np.array([14])), "-13..13, not 14"),
    (lambda: formats.pack_base3(np.array([0.5])), "integers, not float64"),
    (lambda: formats.pack_base3(np.zeros((2, 2), np.int8)), r"\[2, 2\]"),
    (lambda: formats.unpack_base3(np.array([243], np.uint8), 5), "at most 242, not 243"),
    (lambda: formats.unpack_base3(np.array([122], np.uint8), 0), "take 0 bytes, not 1"),
    (lambda: formats.unpack_base3(np.array([124], np.uint8), 1), "padding"),
    (lambda: formats.unpack_base3(np.array([], np.uint8), -1), "count"),
    (lambda: formats.unpack_base3(np.array([1.0]), 5), "uint8"),
    (lambda: formats.unpack_2bit(np.array([0b1000], np.uint8), 4), r"10 .*element 1"),
    (lambda: formats.unpack_2bit(np.array([0b0100], np.uint8), 1), "padding"),
    (lambda: formats.unpack_three_trits(np.zeros(4, np.uint8), 1), "take 3 bytes, not 4"),
    (lambda: formats.pack_kv_row(np.array([8]), 3), "0..7"),
    (lambda: formats.pack_kv_row(np.array([-1]), 3), "0..7"),
    (lambda: formats.pack_kv_row(np.array([1]), 17), "1..16, not 17"),
    (lambda: formats.unpack_kv_row(np.zeros(2, np.uint8), 8, 3), "take 3 bytes, not 2"),
])
def test_bad_input_is_refused_with_value_and_limit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_spare_code_can_be_read_as_the_hardware_reads_it():
    packed = np.array([0b01_10_11_10], np.uint8)
    assert formats.unpack_2bit(packed, 4, spare_as_zero=True).tolist() == [0, -1, 0, 1]


def test_kv_row_literals():
    # Codes 1..7, 0 as a little-endian bit string: 0b000_111_110_101_100_011_010_001.
    assert formats.pack_kv_row(np.array([1, 2, 3, 4, 5, 6, 7, 0]), 3).tolist() == [0xD1, 0x58, 0x1F]
    assert formats.pack_kv_row(np.array([15, 1, 2]), 4).tolist() == [0x1F, 0x02]
    assert formats.unpack_kv_row(np.array([0xD1, 0x58, 0x1F], np.uint8), 8, 3).tolist() == [
        1, 2, 3, 4, 5, 6, 7, 0]


@given(st.sampled_from([3, 4, 8, 16]), st.lists(st.integers(0, 65535), max_size=19))
def test_kv_row_round_trip(bits, values):
    codes = [v % 2 ** bits for v in values]
    packed = formats.pack_kv_row(np.array(codes, np.int64), bits)
    assert formats.unpack_kv_row(packed, len(codes), bits).tolist() == codes


@pytest.mark.parametrize(("value", "code"), [
    (0.0, 0), (1.0, 40 << 10), (1.5, (40 << 10) + 512), (2.0 ** 23, 63 << 10), (2.0 ** 24, 65535),
    (smallfloat.LARGEST, 65535), (2.0 ** -41, 0), (2.0 ** -40, 0), (1025 * 2.0 ** -50, 1),
    (2049 / 2048, 40 << 10), (2051 / 2048, (40 << 10) + 2), (4095 / 2048, 41 << 10),
])
def test_kv_scale_literals(value, code):
    """Halves go to even, a carry goes into the exponent, the ends saturate and flush."""
    assert formats.encode_kv_scale(smallfloat.from_float(value)) == code


def test_every_kv_scale_survives_widening():
    codes = np.arange(65536)
    values = formats.decode_kv_scale(codes)
    assert np.array_equal(formats.encode_kv_scale(values), codes)
    assert np.array_equal(smallfloat.from_float(values), values)
    assert (np.diff(values) > 0).all()


@given(st.integers(-2 ** 60, 2 ** 60), st.integers(0, 70))
def test_round_shift_is_half_to_even(x, by):
    assert formats.round_shift(np.int64(x), by) == round(Fraction(x, 2 ** by))


def test_round_shift_differs_from_adding_half():
    """Negative control: the usual shortcut is caught at 0.5 and 2.5."""
    x = np.array([1, 3, 5, 7])
    assert formats.round_shift(x, 1).tolist() == [0, 2, 2, 4]
    assert ((x + 1) >> 1).tolist() != [0, 2, 2, 4]


def test_saturate():
    assert formats.saturate(np.array([-9, -8, 7, 8]), 4).tolist() == [-8, -8, 7, 7]


@pytest.mark.parametrize(("bits", "scale_bytes", "total"),
                         [(3, 2, 15_000), (4, 2, 19_800), (16, 0, 76_800)])
def test_kv_bytes_of_one_token_of_bitnet_2b4t(bits, scale_bytes, total):
    """30 layers, 5 KV heads of 128 elements, K and V: the figures of the paper's shapes."""
    row = formats.pack_kv_row(np.zeros(128, np.int64), bits)
    assert 30 * 5 * 2 * (row.size + scale_bytes) == total
