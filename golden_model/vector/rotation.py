# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.vector.rotation`."""

import numpy as np

from golden_model.arrays import Ints
from golden_model.attention.rope import rope
from golden_model.stream_config import RotationConfig

__all__ = ["ordered", "paired", "words"]


def paired(heads: Ints) -> Ints:
    """Heads [.., n] in the order in which their elements are pairs: i, then i + n / 2."""
    halves = heads.reshape(*heads.shape[:-1], 2, -1)
    return np.asarray(halves.swapaxes(-1, -2).reshape(heads.shape))


def words(config: RotationConfig, k: Ints, v: Ints, q: Ints, cos: Ints, sin: Ints) -> Ints:
    """Words [heads, n] of keys, values and queries: sums [heads, n] in their natural order."""
    turned = [paired(rope(heads, cos, sin, config.extra_bits)) for heads in (k, q)]
    return ordered(config, turned[0], v, turned[1])


def ordered(config: RotationConfig, k: Ints, v: Ints, q: Ints) -> Ints:
    """Heads of keys, values and queries in the order in which they come."""
    if not config.ahead:
        return np.concatenate([k, v, q])
    keys, values, queries = (part.reshape(len(k), -1, part.shape[-1]) for part in (k, v, q))
    first, others = np.split(queries, [config.ahead], axis=1)
    return np.concatenate([first, keys, values, others], axis=1).reshape(-1, k.shape[-1])
