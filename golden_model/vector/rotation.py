# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.vector.rotation`."""

import numpy as np

from golden_model.arrays import Ints
from golden_model.attention.rope import rope
from golden_model.stream_config import RotationConfig

__all__ = ["paired", "words"]


def paired(heads: Ints) -> Ints:
    """Heads [.., n] in the order in which their elements are pairs: i, then i + n / 2."""
    halves = heads.reshape(*heads.shape[:-1], 2, -1)
    return np.asarray(halves.swapaxes(-1, -2).reshape(heads.shape))


def words(config: RotationConfig, k: Ints, v: Ints, q: Ints, cos: Ints, sin: Ints) -> Ints:
    """Words [heads, n] of keys, values and queries: sums [heads, n] in their natural order."""
    turned = [paired(rope(heads, cos, sin, config.extra_bits)) for heads in (k, q)]
    return np.concatenate([turned[0], v, turned[1]])
