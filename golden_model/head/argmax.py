# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.head.argmax`."""

from collections.abc import Sequence

from golden_model.arrays import Ints
from golden_model.head_config import ArgmaxConfig

__all__ = ["argmax", "schedule"]


def argmax(logits: Ints) -> tuple[int, int]:
    """Index and value of the largest of `logits` [n]; among equals the lowest index."""
    best = int(logits.max())
    return logits.tolist().index(best), best


def schedule(config: ArgmaxConfig, lengths: Sequence[int]) -> list[int]:
    """Cycle, from 0, in which each vector's token leaves if nobody stalls.

    A logit a cycle; the cycle in which a token leaves takes none.
    """
    cycles, now = [], 0
    for n in lengths:
        now += n - 1 + config.latency
        cycles.append(now)
        now += 1
    return cycles
