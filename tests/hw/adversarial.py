# SPDX-License-Identifier: Apache-2.0
"""What Hypothesis draws the units' vectors from: mostly ends of ranges, powers of two and zero."""

from hypothesis import strategies as st

from golden_model import smallfloat

__all__ = ["STALLS", "flags", "rows", "signed_words", "small_reals"]

STALLS = st.sampled_from([0.0, 0.0, 0.3, 0.8])
"""Shares of stalled cycles; without stalls cycles are checked too."""


def signed_words(bits):
    """Draw integers of `bits` bits with a sign, half of them at an edge."""
    peak = 1 << bits - 1
    edges = {-peak, 1 - peak, -1, 0, 1, 2 - peak, peak - 1, peak - 2, peak >> 1, -(peak >> 1)}
    powers = {sign * (1 << n) + by for n in range(bits - 1) for sign in (-1, 1) for by in (-1, 0)}
    return st.one_of(st.sampled_from(sorted(edges)), st.sampled_from(sorted(powers)),
                     st.integers(-peak, peak - 1))


def small_reals(zero=True):
    """Draw small floats of every exponent; mantissas at the ends, in the middle and anywhere."""
    mantissa = st.one_of(st.sampled_from([1 << 15, (1 << 15) + 1, 49152, 65534, 65535]),
                         st.integers(1 << 15, 65535))
    exponent = st.one_of(st.sampled_from([-128, -127, -24, -16, -15, 0, 126, 127]),
                         st.integers(-40, 10), st.integers(-128, 127))
    values = st.builds(lambda m, e: float(smallfloat.join(m, e)), mantissa, exponent)
    return st.one_of(values, values, values, st.just(0.0)) if zero else values


def rows(strategy, lanes):
    """Draw lists of `lanes`."""
    return st.lists(strategy, min_size=lanes, max_size=lanes)


def flags(count):
    """Draw `count` truth values: none, all, one or any."""
    one = st.integers(0, count - 1).map(lambda place: [n == place for n in range(count)])
    return st.one_of(st.just([False] * count), st.just([True] * count), one,
                     rows(st.booleans(), count))
