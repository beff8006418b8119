# SPDX-License-Identifier: Apache-2.0
"""Exact products in floating point, at the edge of what it holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model.linear import Linear, carrier_for


@pytest.mark.parametrize(("length", "a", "b", "carrier"), [
    (128, 1, 8, np.float32), (384, 1, 128, np.float32), (128, 13, 128, np.float32),
    ((1 << 24) - 1, 1, 1, np.float32), (1 << 24, 1, 1, np.float64), (2560, 13, 128, np.float32),
    (20_000, 13, 128, np.float64),
])
def test_carrier(length, a, b, carrier):
    assert carrier_for(length, a, b) is carrier


def test_sums_beyond_float64_are_refused():
    with pytest.raises(ValueError, match=r"exceeds 2\*\*53"):
        carrier_for(1 << 30, 1 << 12, 1 << 11)


@given(st.integers(1, 70), st.integers(1, 40), st.integers(0, 2 ** 32 - 1))
def test_equals_integer_products(k, m, seed):
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-13, 14, (m, k)).astype(np.int8)
    codes = rng.integers(-128, 128, (2, 3, k)).astype(np.int8)
    sums = Linear(matrix, 13, 128)(codes)
    assert sums.dtype == np.int64
    assert np.array_equal(sums, codes.astype(np.int64) @ matrix.T.astype(np.int64))


@pytest.mark.parametrize("k", [10_081, 10_083])  # 13 * 128 * k either side of 2**24
def test_extremes_at_the_edge_of_float32(k):
    matrix = np.full((1, k), -13, np.int8)
    codes = np.full((1, k), -128, np.int8)
    codes[0, 0] = -127
    assert Linear(matrix, 13, 128)(codes).tolist() == [[13 * (128 * k - 1)]]


def test_float32_would_lose_bits_beyond_the_bound():
    """Negative control: why the carrier is chosen."""
    k = 20_001
    matrix, codes = np.full((1, k), 13, np.int8), np.full((1, k), 127, np.int8)
    assert Linear(matrix, 13, 128)(codes)[0, 0] == 13 * 127 * k
    assert int((codes.astype(np.float32) @ matrix.T.astype(np.float32))[0, 0]) != 13 * 127 * k
