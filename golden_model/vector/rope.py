# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.vector.rope`: how a head streams through it, and in how many cycles.

The values are those of :func:`golden_model.attention.rope.rope`.
"""

import numpy as np

from golden_model.arrays import Ints
from golden_model.attention.rope import rope
from golden_model.vector_config import RopeConfig

__all__ = ["cycles", "turn_pairs"]


def turn_pairs(config: RopeConfig, a: Ints, b: Ints, cos: Ints, sin: Ints) -> tuple[Ints, Ints]:
    """Turn pairs [...]: words of the first and of the second elements."""
    turned = rope(np.stack([a, b], axis=-1), cos[..., None], sin[..., None], config.extra_bits)
    return turned[..., 0], turned[..., 1]


def cycles(config: RopeConfig, elements: int) -> int:
    """Cycles from the first transfer on ``i`` to the last on ``o``, without stalls."""
    return -(-elements // (2 * config.pairs)) - 1 + config.latency
