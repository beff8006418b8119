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
    quantize_query,
    quantize_query_float,
    quantize_row,
    quantize_row_float,
    row_peak,
    row_steps,
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
