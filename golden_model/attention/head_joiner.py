# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.head_joiner`: words on one scale, and every cycle."""

from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.head_joiner_config import HeadJoinerConfig

__all__ = ["JoinCycles", "join_cycles", "join_heads"]


class JoinCycles(NamedTuple):
    """The cycle of every transfer of one vector."""

    command: int
    sums: list[int]
    scales: list[int]
    words: list[int]
    """All passes."""
    scale: int


def join_heads(sums: Ints, scales: Floats, shift: int) -> tuple[Ints, Floats]:
    """Words [heads * n] and their scale from sums [heads, n] and small floats [heads]."""
    if not (scales > 0).any():
        return np.zeros(sums.size, np.int64), np.zeros(())
    place = int(smallfloat.exponent(scales)[scales > 0].max()) + shift
    words = smallfloat.scale_int(sums, scales[:, None], -place)
    return words.reshape(-1), smallfloat.shift(np.ones(()), place)


def join_cycles(config: HeadJoinerConfig, vectors: list[tuple[int, int, int]]) -> list[JoinCycles]:
    """Cycles of consecutive vectors from reset on, while nothing waits for anybody else.

    Parameters
    ----------
    vectors
        Heads, beats of each, and passes.
    """
    result: list[JoinCycles] = []
    command = 0
    for heads, beats, passes in vectors:
        loaded = command + heads * beats
        first = loaded + config.latency
        words = list(range(first, first + passes * heads * beats))
        result.append(JoinCycles(command, list(range(command + 1, loaded + 1)),
                                 list(range(command + 1, command + 1 + heads)), words, loaded + 2))
        command = loaded + 2 + passes * heads * beats
    return result
