# SPDX-License-Identifier: Apache-2.0
"""Top-K: exact counts, ties, blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model.sparse.top_k import kept_count, top_k_mask


@pytest.mark.parametrize(("n", "keep", "count"), [
    (5, (1, 2), 2), (4, (1, 2), 2), (1, (1, 2), 0), (10, (7, 10), 7), (8, (0, 1), 0),
    (8, (1, 1), 8),
])
def test_kept_count(n, keep, count):
    assert kept_count(n, keep) == count
    assert top_k_mask(np.arange(n), keep).sum() == count


def test_lowest_index_wins_ties():
    assert top_k_mask(np.array([3, 5, 3, 3, 1, 3]), (1, 2)).tolist() == [
        True, True, True, False, False, False]
    assert top_k_mask(np.zeros(5), (3, 5)).tolist() == [True, True, True, False, False]


def test_lowest_index_wins_ties_of_a_long_vector():
    """Long enough for an unstable sort to show."""
    key = np.random.default_rng(1).integers(0, 4, 1000)
    expected = sorted(range(1000), key=lambda i: (-key[i], i))[:500]
    assert np.flatnonzero(top_k_mask(key, (1, 2))).tolist() == sorted(expected)


def test_numpy_partition_would_not_do():
    """Negative control: a threshold keeps more than K where keys are equal."""
    key = np.array([1, 2, 2, 2, 0, 0])
    assert (key >= np.sort(key)[::-1][2]).sum() == top_k_mask(key, (1, 2)).sum()
    key = np.array([2, 2, 2, 2, 0, 0])
    assert (key >= np.sort(key)[::-1][2]).sum() != top_k_mask(key, (1, 2)).sum() == 3


def test_blocks_and_a_shorter_tail():
    key = np.array([9, 8, 7, 6, 1, 2, 3, 4, 5, 6, 7])
    assert np.flatnonzero(top_k_mask(key, (1, 2), 4)).tolist() == [0, 1, 6, 7, 10]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(0, 4),
       st.sampled_from([0, 1, 3, 8]))
def test_against_sorting_by_hand(key, kept, block):
    expected = []
    size = block or len(key)
    for start in range(0, len(key), size):
        part = range(start, min(start + size, len(key)))
        expected += sorted(part, key=lambda i: (-key[i], i))[:len(part) * kept // 4]
    mask = top_k_mask(np.array([key, key]), (kept, 4), block)
    assert np.flatnonzero(mask[0]).tolist() == sorted(expected)
    assert np.array_equal(mask[0], mask[1])
