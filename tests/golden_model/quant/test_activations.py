# SPDX-License-Identifier: Apache-2.0
"""Activation quantisers: figures known without this code, corners, and integers against reals."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model import smallfloat as sf
from golden_model.evaluate import sqnr_db
from golden_model.quant.activations import quantize, quantize_float, round_e2m1

FORMATS = ("int4", "fp4", "int8")
ONE = sf.from_float(1)


@pytest.fixture(scope="module")
def gaussian():
    return np.random.default_rng(7).normal(size=(400, 4096))


def given_back(codes, scale):
    return codes * scale[:, None]


@pytest.mark.parametrize(("fmt", "expected"), [("int4", 18.8), ("fp4", 18.5), ("int8", 41.2)])
def test_sqnr_of_gaussian_rows(gaussian, fmt, expected):
    assert sqnr_db(gaussian, given_back(*quantize_float(gaussian, fmt))) == pytest.approx(
        expected, abs=0.1)
    words = np.rint(gaussian * 2 ** 20).astype(np.int64)
    unit = np.full(400, 2.0 ** -20)
    assert sqnr_db(gaussian, given_back(*quantize(words, unit, fmt))) == pytest.approx(
        expected, abs=0.1)


def test_int4_absmax_would_be_worse(gaussian):
    """Negative control for the SQNR figures: absmax in place of absmean is 2.7 dB off."""
    scale = np.abs(gaussian).max(axis=1, keepdims=True) / 7
    assert sqnr_db(gaussian, np.rint(gaussian / scale) * scale) == pytest.approx(16.1, abs=0.1)


def test_int4_absmean_facts(gaussian):
    """Share of zeros, clipping and range: the 12 % of the paper's table 2 comes from here."""
    codes, scale = quantize_float(gaussian, "int4")
    step = scale.mean()
    assert step == pytest.approx(0.3016, abs=0.0005)
    assert np.mean(codes == 0) == pytest.approx(0.1199, abs=0.001)
    assert (-8 * step, 7 * step) == pytest.approx((-2.41, 2.11), abs=0.01)
    # About 2.2 % saturate: 2.5 % lie outside the range, 1.7 % would round to a code outside it.
    for past, share in ((0, 0.0254), (0.5, 0.0170)):
        low, high = -(8 + past) * step, (7 + past) * step
        assert math.erfc(-low / 2 ** .5) / 2 + math.erfc(high / 2 ** .5) / 2 == pytest.approx(
            share, abs=2e-4)
        assert np.mean((gaussian < low) | (gaussian > high)) == pytest.approx(share, abs=5e-4)
    assert np.mean(quantize_float(gaussian, "int8")[0] == 0) == pytest.approx(0.012, abs=0.001)


@pytest.mark.parametrize(("x", "code"), [
    (0, 0), (0.5, 0), (0.51, 1), (1.49, 1), (1.5, 2), (2.5, 2), (2.51, 3), (3.49, 3), (3.5, 4),
    (5, 4), (5.01, 6), (6.99, 6), (7, 8), (10, 8), (10.01, 12), (12, 12), (400, 12),
])
def test_e2m1_grid_and_ties(x, code):
    assert round_e2m1(np.array([x, -x], float)).tolist() == [code, -code]


def test_e2m1_codes_are_the_standard_grid():
    seen = np.unique(round_e2m1(np.linspace(-12, 12, 4801))) / 2
    assert seen.tolist() == [-6, -4, -3, -2, -1.5, -1, -.5, 0, .5, 1, 1.5, 2, 3, 4, 6]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("n", [1, 2, 7, 130])
def test_zero_vector(fmt, n):
    codes, scale = quantize(np.zeros((2, n), np.int64), np.ones(2), fmt)
    assert not codes.any()
    assert not scale.any()
    assert not quantize_float(np.zeros((2, n)), fmt)[0].any()


@pytest.mark.parametrize(("fmt", "peak"), [("int4", 7), ("fp4", 12), ("int8", 127)])
def test_one_huge_outlier_saturates_and_silences_the_rest(fmt, peak):
    y = np.ones((1, 513), np.int64)
    y[0, 256] = 2 ** 37
    codes, _ = quantize(y, np.ones(1), fmt)
    assert codes[0, 256] == peak
    assert np.count_nonzero(codes) == 1


def test_int4_range_is_lopsided():
    y = np.array([[-100, 100] + [1] * 50])
    assert quantize(y, np.ones(1), "int4")[0][0, :2].tolist() == [-8, 7]


@pytest.mark.parametrize("fmt", ["int8", "fp4"])
@pytest.mark.parametrize("word", [-2 ** 23, 2 ** 23 - 1, 1, -1])
def test_word_extremes(fmt, word):
    codes, scale = quantize(np.array([[word, 0]]), np.ones(1), fmt)
    peak = 127 if fmt == "int8" else 12
    assert codes[0].tolist() == [int(math.copysign(peak, word)), 0]
    assert float(codes[0, 0] * scale[0]) == pytest.approx(word, rel=2 ** -15)


VECTORS = st.lists(st.integers(-2 ** 34, 2 ** 34), min_size=1, max_size=12)


def small(x):
    m, e = sf.split(x)
    return int(m) * Fraction(2) ** int(e)


@given(VECTORS)
def test_int8_and_int4_codes_follow_the_definition(values):
    y = np.array([values])
    for fmt, low, high in (("int8", -128, 127), ("int4", -8, 7)):
        statistic = sum(map(abs, values)) if fmt == "int4" else max(map(abs, values))
        levels = sf.from_float(math.sqrt(7) * len(values)) if fmt == "int4" else sf.from_int(127)
        ratio = small(sf.div(levels, sf.from_int(statistic)))
        expected = [max(low, min(high, round(v * ratio))) for v in values]
        codes, scale = quantize(y, np.ones(1), fmt)
        assert codes[0].tolist() == expected
        assert scale[0] == sf.mul(sf.div(sf.from_int(statistic), levels), ONE)


@given(VECTORS)
def test_fp4_code_is_the_nearest_of_the_exact_product(values):
    ratio = small(sf.div(sf.from_int(12), sf.from_int(max(map(abs, values)))))
    even = {0, 2, 4, 8}
    grid = [0, 1, 2, 3, 4, 6, 8, 12]
    codes, _ = quantize(np.array([values]), np.ones(1), "fp4")
    for value, code in zip(values, codes[0].tolist(), strict=True):
        exact = abs(value) * ratio
        best = min(grid, key=lambda g, x=exact: (abs(g - x), g not in even))
        assert code == (best if value >= 0 else -best)


@pytest.mark.parametrize("fmt", FORMATS)
def test_integer_codes_equal_real_codes_but_for_near_ties(gaussian, fmt):
    words = np.rint(gaussian * 2 ** 20).astype(np.int64)
    real, _ = quantize_float(gaussian, fmt)
    integer, _ = quantize(words, np.full(400, 2.0 ** -20), fmt)
    share = {"int4": 0.9995, "fp4": 0.9995, "int8": 0.995}[fmt]
    assert np.mean(real == integer) > share
    assert np.abs(real.astype(int) - integer).max() <= {"int4": 1, "fp4": 4, "int8": 1}[fmt]
