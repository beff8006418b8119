# SPDX-License-Identifier: Apache-2.0
"""Top-K: which elements of a vector stay (equation 1 of arXiv:2411.04965)."""

import numpy as np

from golden_model.arrays import Bools, Floats, Ints

__all__ = ["kept_count", "top_k_mask"]


def kept_count(n: int, keep: tuple[int, int]) -> int:
    """``floor(n * keep)`` for a share given as numerator and denominator."""
    return n * keep[0] // keep[1]


def _largest(key: Ints | Floats, count: int) -> Bools:
    """Mark the `count` largest keys of the last axis; among equals the lowest index wins."""
    order = np.argsort(-key, axis=-1, kind="stable")
    mask = np.zeros(key.shape, np.bool_)
    np.put_along_axis(mask, order[..., :count], True, axis=-1)
    return mask


def top_k_mask(key: Ints | Floats, keep: tuple[int, int], block: int = 0) -> Bools:
    """Mark exactly ``kept_count`` elements of the last axis, those with the largest key.

    Parameters
    ----------
    key
        Magnitudes [..., n], never negative.
    keep
        Kept share.
    block
        0 selects over the whole axis; otherwise over each run of `block` elements, of which the
        last may be shorter.
    """
    n = key.shape[-1]
    if block == 0:
        return _largest(key, kept_count(n, keep))
    whole = n - n % block
    full = key[..., :whole].reshape(*key.shape[:-1], -1, block)
    parts = [_largest(full, kept_count(block, keep)).reshape(*key.shape[:-1], whole)]
    if whole < n:
        parts.append(_largest(key[..., whole:], kept_count(n - whole, keep)))
    return np.concatenate(parts, axis=-1)
