# SPDX-License-Identifier: Apache-2.0
"""Codes of key, value and query vectors."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model import smallfloat as sf
from golden_model.evaluate import sqnr_db
from golden_model.formats import encode_kv_scale
from golden_model.kv.row_code import (
    decode_row_scale,
    encode_row_scale,
    quantize_query,
    quantize_query_float,
    quantize_row,
    quantize_row_float,
    row_peak,
    row_steps,
    row_zeros,
)

BITS = (3, 4, 8, 16)


def small(x):
    m, e = sf.split(x)
    return int(m) * Fraction(2) ** int(e)


def codes_of(x, bits, code="midrise"):
    return quantize_row(np.array([x]), np.ones(1), bits, code)[0][0].tolist()


@pytest.mark.parametrize(("x", "bits", "code", "expected"), [
    ([7, 5, 3, 1, -1, -3, -5, -7], 3, "midrise", [7, 6, 5, 4, 3, 2, 1, 0]),
    ([7, 0], 3, "midrise", [7, 4]),            # 3.5 goes to the even 4
    ([7, -6, 6, 2], 3, "midrise", [7, 0, 6, 4]),  # 0.5 to 0, 6.5 to 6, 4.5 to 4
    ([3, 2, 1, 0, -1, -3], 3, "symmetric", [7, 6, 5, 4, 3, 1]),
    ([15, -15, 1], 4, "midrise", [15, 0, 8]),
    ([0, 0], 3, "midrise", [4, 4]), ([0, 0], 4, "midrise", [8, 8]), ([0], 3, "symmetric", [4]),
])
def test_literals(x, bits, code, expected):
    assert codes_of(x, bits, code) == expected


def test_zero_vector_has_scale_zero():
    for bits in BITS:
        codes, scale = quantize_row(np.zeros((1, 3), np.int64), np.ones(1), bits, "midrise")
        assert codes[0].tolist() == [2 ** (bits - 1)] * 3
        assert scale.tolist() == [0.0]


WORDS = st.lists(st.integers(-2 ** 23, 2 ** 23 - 1), min_size=1, max_size=9)


@given(WORDS, st.sampled_from(BITS))
def test_midrise_rounds_the_exact_half_once(x, bits):
    levels = 2 ** bits - 1
    ratio = small(sf.div(sf.from_int(levels), sf.from_int(max(map(abs, x))))) if any(x) else 0
    expected = [max(0, min(levels, round((v * ratio + levels) / 2))) for v in x]
    assert codes_of(x, bits) == expected


@given(WORDS, st.sampled_from(BITS))
def test_steps_stay_within_their_peak_and_the_scale_is_a_kv_scale(x, bits):
    for code in ("midrise", "symmetric"):
        codes, scale = quantize_row(np.array([x]), np.full(1, 2.0 ** -6), bits, code)
        assert codes.min() >= 0
        assert codes.max() < 2 ** bits
        assert np.abs(row_steps(codes, bits, code)).max() <= row_peak(bits, code)
        levels = sf.from_int(2 ** bits - 1 if code == "midrise" else 2 ** (bits - 1) - 1)
        exact = sf.div(sf.mul(sf.from_int(max(map(abs, x))), sf.from_float(2.0 ** -6)), levels)
        assert encode_kv_scale(scale) == encode_kv_scale(exact)


@pytest.mark.parametrize("word", [-2 ** 23, 2 ** 23 - 1])
@pytest.mark.parametrize("bits", BITS)
def test_word_extremes(word, bits):
    codes, scale = quantize_row(np.array([[word, 0]]), np.ones(1), bits, "midrise")
    value = row_steps(codes, bits, "midrise")[0, 0] * scale[0]
    assert value == pytest.approx(word, rel=2 ** -10)


@pytest.mark.parametrize("code", ["midrise", "symmetric"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_same_values_as_the_real_quantiser_but_for_the_scale(bits, code):
    x = np.rint(np.random.default_rng(4).normal(0, 2000, (200, 32))).astype(np.int64)
    codes, scale = quantize_row(x, np.ones(200), bits, code)
    value = row_steps(codes, bits, code) * scale[:, None]
    apart = np.abs(quantize_row_float(x.astype(float), bits, code) - value)
    step = np.abs(x).max(axis=1, keepdims=True) / 2 ** (bits - 1)
    same = apart < 0.1 * step
    assert np.mean(same) > (0.999 if bits < 8 else 0.99)  # the others were within a hair of a tie
    assert sqnr_db(x[same], (x + apart)[same]) > 60


def test_midrise_beats_symmetric_and_minmax_beats_both():
    """Three bits of Gaussian vectors; a swap of any two definitions would show."""
    x = np.random.default_rng(5).normal(size=(2000, 32))
    sqnr = [sqnr_db(x, quantize_row_float(x, 3, c)) for c in ("symmetric", "midrise", "minmax")]
    assert sqnr == sorted(sqnr)
    assert np.diff(sqnr).min() > 0.3


def test_sixteen_bits_leave_the_reference_alone():
    x = np.random.default_rng(6).normal(size=(4, 8))
    assert quantize_row_float(x, 16, "midrise") is x
    assert quantize_query_float(x, 16) is x


@pytest.mark.parametrize(("x", "bits", "codes", "zero"), [
    ([7, 0, 3], 3, [7, 0, 3], 0), ([-7, 0, -3], 3, [0, 7, 4], 7), ([5, -2, 0], 3, [7, 0, 2], 2),
    ([7, 3], 3, [7, 3], 0),                    # zero counts: 3 is no end of the range
    ([7, -7, 1], 3, [7, 0, 4], 4),             # 3.5 and 3.5 go to 4 and 4, of which 8 is too much
    ([0, 0], 3, [0, 0], 0), ([10, -5], 4, [15, 0], 5)])
def test_literals_of_min_max_codes(x, bits, codes, zero):
    assert codes_of(x, bits, "minmax") == codes
    assert row_zeros(np.array(x), bits, "minmax") == zero


@given(WORDS, st.sampled_from((3, 4)))
def test_min_max_codes_round_once_each_and_zero_stays_zero(x, bits):
    levels, low, high = 2 ** bits - 1, min(*x, 0), max(*x, 0)
    ratio = small(sf.div(sf.from_int(levels), sf.from_int(high - low))) if any(x) else 0
    zero = round(-low * ratio)
    assert codes_of(x, bits, "minmax") == [min(levels, round(v * ratio) + zero) for v in x]
    assert row_zeros(np.array(x), bits, "minmax") == zero <= levels
    assert min(codes_of(x, bits, "minmax")) >= 0
    assert codes_of([*x, 0], bits, "minmax")[-1] == zero


def test_what_is_stored_with_a_min_max_row():
    """Exponent, six bits of fraction, the zero point; the scale is what a row's codes go by."""
    x = np.array([[700, -300, 5], [-1, -2, -3], [0, 0, 0], [2 ** 23 - 1, -2 ** 23, 1]])
    scale = np.array([2.0 ** -16, 1.0, 1.0, 2.0 ** 30])
    codes, kept = quantize_row(x, scale, 3, "minmax")
    zeros = row_zeros(x, 3, "minmax")
    stored = encode_row_scale(kept, zeros, "minmax")
    assert (stored % 16).tolist() == zeros.tolist() == [2, 7, 0, 4]
    assert stored[3] == 0xFFF4
    found, again = decode_row_scale(stored, "minmax")
    assert (found == kept).all()
    assert (again == zeros).all()
    assert kept[:2] == pytest.approx([1000 / 7 * 2.0 ** -16, 3 / 7], rel=2.0 ** -7)
    assert row_steps(codes, 3, "minmax", zeros).tolist() == [
        [5, -2, 0], [-2, -5, -7], [0, 0, 0], [3, -4, 0]]


def test_min_max_integers_are_as_near_as_the_real_ones():
    """A zero point that is a code costs next to nothing against a real one."""
    x = np.rint(np.random.default_rng(5).normal(0, 2000, (2000, 32))).astype(np.int64)
    codes, scale = quantize_row(x, np.ones(2000), 3, "minmax")
    value = row_steps(codes, 3, "minmax", row_zeros(x, 3, "minmax")) * scale[:, None]
    own, real = sqnr_db(x, value), sqnr_db(x, quantize_row_float(x.astype(float), 3, "minmax"))
    midrise = sqnr_db(x, quantize_row_float(x.astype(float), 3, "midrise"))
    assert real - 0.4 < own < real
    assert own > midrise


def test_minmax_of_a_constant_vector():
    x = np.full((1, 4), 2.5)
    assert np.array_equal(quantize_row_float(x, 3, "minmax"), x)


@pytest.mark.parametrize(("bits", "levels"), [(4, 7), (8, 127), (16, 2047)])
def test_query_codes(bits, levels):
    x = np.array([[2 ** 23 - 1, -2 ** 23, 0, 2 ** 22]])
    codes, scale = quantize_query(x, np.ones(1), bits)
    assert codes[0, 1:3].tolist() == [-levels, 0]
    assert codes[0] * scale[0] == pytest.approx(x[0], abs=2 ** 23 / levels * 0.51)
    zero = quantize_query(np.zeros((1, 3), np.int64), np.ones(1), bits)
    assert not zero[0].any()
    assert not zero[1].any()
