# SPDX-License-Identifier: Apache-2.0
"""Small floats against exact rational arithmetic."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model import smallfloat as sf

MANTISSAS = st.one_of(st.sampled_from([32768, 32769, 49151, 65534, 65535]),
                      st.integers(32768, 65535))
PAIRS = st.one_of(st.just((0, 0)), st.tuples(MANTISSAS, st.integers(-128, 127)),
                  st.tuples(MANTISSAS, st.integers(-20, 20)))


def exact(pair):
    m, e = pair
    return m * Fraction(2) ** e


def value(pair):
    return sf.join(*pair)


def rounded(x, ties_even=True):
    """(m, e) of the nearest small float of a Fraction, in integers only."""
    if x == 0:
        return 0, 0
    e = x.numerator.bit_length() - x.denominator.bit_length() - 17
    while x / Fraction(2) ** e >= 65536:
        e += 1
    scaled = x / Fraction(2) ** e
    m = round(scaled) if ties_even else int(scaled + Fraction(1, 2))
    if m == 65536:
        m, e = 32768, e + 1
    if e > 127:
        return 65535, 127
    return (m, e) if e >= -128 else (0, 0)


def pair_of(x):
    m, e = sf.split(x)
    return int(m), int(e)


@given(PAIRS, PAIRS)
def test_product_quotient_and_sum_are_rounded_once(a, b):
    assert pair_of(sf.mul(value(a), value(b))) == rounded(exact(a) * exact(b))
    assert pair_of(sf.add(value(a), value(b))) == rounded(exact(a) + exact(b))
    if b[0]:
        assert pair_of(sf.div(value(a), value(b))) == rounded(exact(a) / exact(b))


@given(st.lists(st.tuples(PAIRS, PAIRS), min_size=2, max_size=5))
def test_arrays_equal_one_by_one(pairs):
    a, b = (np.array([value(pair[i]) for pair in pairs]) for i in range(2))
    for op in (sf.mul, sf.div, sf.add):
        assert op(a, b).tolist() == [op(x, y).item() for x, y in zip(a, b, strict=True)]
    assert sf.sqrt(a).tolist() == [sf.sqrt(x).item() for x in a]
    n = np.array([int(exact(pair[0]) * 2 ** 40) % 2 ** 63 for pair in pairs])
    assert sf.from_int(n).tolist() == [sf.from_int(x).item() for x in n]


@given(PAIRS)
def test_root_is_rounded_once(a):
    # 40 more bits than the mantissa needs, and a sticky one: no tie can hide behind them.
    scaled = exact(a) * 2 ** 400
    root = isqrt(int(scaled))
    sticky = Fraction(2 * root + (root * root != scaled), 2)
    assert pair_of(sf.sqrt(value(a))) == rounded(sticky / 2 ** 200)


@given(st.integers(0, 2 ** 63 - 1))
def test_integers_up_to_63_bits(n):
    assert pair_of(sf.from_int(n)) == rounded(Fraction(n))


@pytest.mark.parametrize("n", [2 ** 53 + 2 ** 36, 2 ** 62 + 2 ** 46, 2 ** 62 + 2 ** 46 + 1,
                               2 ** 62 + 3 * 2 ** 46, 2 ** 63 - 1, 2 ** 53 + 2 ** 37 + 1])
def test_ties_above_float64(n):
    assert pair_of(sf.from_int(n)) == rounded(Fraction(n))


@given(st.floats(0, 1e30, allow_subnormal=False))
def test_constants_are_rounded_once(x):
    assert pair_of(sf.from_float(x)) == rounded(Fraction(x))


@given(st.integers(-2 ** 37, 2 ** 37), PAIRS, st.integers(-20, 20), st.sampled_from([4, 8, 24]))
def test_elementwise_unit(y, scale, by, bits):
    expected = round(y * exact(scale) * Fraction(2) ** by)
    peak = 2 ** (bits - 1)
    assert sf.scale_int(np.int64(y), value(scale), by, bits) == max(-peak, min(peak - 1, expected))


@pytest.mark.parametrize(("y", "expected"), [(1, 0), (3, 2), (5, 2), (7, 4), (-1, 0), (-3, -2)])
def test_elementwise_unit_rounds_halves_to_even(y, expected):
    assert sf.scale_int(np.int64(y), sf.from_float(0.5)) == expected


def test_division_is_total():
    zero, one = sf.from_float(0), sf.from_float(1)
    assert pair_of(sf.div(one, zero)) == (65535, 127)
    assert pair_of(sf.div(zero, zero)) == (0, 0)
    assert pair_of(sf.div(zero, one)) == (0, 0)


def test_ends_of_the_range():
    assert sf.LARGEST == sf.join(65535, 127)
    assert sf.SMALLEST == sf.join(32768, -128)
    assert sf.mul(sf.join(65535, 127), sf.from_float(2)) == sf.LARGEST
    assert sf.mul(sf.join(32768, -128), sf.from_float(0.5)) == 0
    # Rounding comes before the test for underflow.
    assert sf.mul(sf.join(65535, -128), sf.join(32769, -16)) == sf.SMALLEST
    assert sf.shift(sf.join(65535, 127), 1) == sf.LARGEST
    assert sf.shift(sf.join(65535, -128), -1) == 0
    assert sf.shift(sf.from_float(3), 4) == 48


@given(PAIRS)
def test_storage_round_trip(a):
    assert pair_of(value(a)) == a
    assert sf.from_bits(sf.to_bits(value(a))) == value(a)


def test_storage_words():
    assert sf.to_bits(sf.from_float(1)) == 0xF18000  # m = 2**15, e = -15
    assert sf.to_bits(sf.from_float(0)) == 0
    assert sf.to_bits(sf.from_float(65535)) == 0x00FFFF


@pytest.mark.parametrize("pair", [(1, 0), (65536, 0), (0, 1), (40000, 128), (40000, -129)])
def test_join_refuses_what_is_not_normalised(pair):
    with pytest.raises(ValueError, match="normalised"):
        sf.join(*pair)


@pytest.mark.parametrize("x", [-1.0, np.nan, np.inf])
def test_constants_must_be_finite_and_not_negative(x):
    with pytest.raises(ValueError, match="small float"):
        sf.from_float(x)


def test_the_oracle_tells_ties_away_from_ties_to_even():
    """Negative control: rounding halves away from zero is noticed."""
    tie = Fraction(65537, 2)
    assert rounded(tie) != rounded(tie, ties_even=False)
    assert pair_of(sf.from_float(float(tie))) == rounded(tie)
