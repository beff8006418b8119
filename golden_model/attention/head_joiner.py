# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.head_joiner`: words on one scale, and every cycle."""

from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.head_joiner_config import HeadJoinerConfig

__all__ = ["JoinCycles", "JoinerCycles", "JoinerStep", "join_cycles", "join_heads"]


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


class JoinerStep(NamedTuple):
    """What is transferred in one cycle."""

    loaded: bool
    """Whether all sums and scales are in since this cycle."""
    scale: bool
    word: bool


class JoinerCycles:
    """Handshakes of one vector whose command was taken: its words once, its scale taken at once."""

    def __init__(self, config: HeadJoinerConfig, heads: int, beats: int) -> None:
        self.sums, self.scales = heads * beats, heads
        """What is still to come."""
        self.words = heads * beats
        """What is still to be read."""
        self.wait = 1
        """Cycles from the last scale to the common one."""
        self.pipe = [False] * (1 + config.scale.latency)
        self.scaled = False

    @property
    def sum_ready(self) -> bool:
        """Whether sums are taken."""
        return self.sums > 0

    @property
    def scale_ready(self) -> bool:
        """Whether scales are taken."""
        return self.scales > 0

    def step(self, total: bool, scale: bool, o_ready: bool = True) -> JoinerStep:
        """Go through one cycle, given what is offered, and whether a word is taken."""
        moves = o_ready or not self.pipe[-1]
        free = moves or not self.pipe[0]
        taken, first, sends = self.pipe[-1] and o_ready, False, False
        if not self.scales:
            sends = not self.wait
            self.wait = 0
        first, self.scaled = sends and not self.scaled, self.scaled or sends
        reads = free and sends and self.words > self.sums
        read = self.pipe[0]
        if moves:
            self.pipe = [False, read, *self.pipe[1:-1]]
            read = False
        self.pipe[0] = reads or read
        self.words -= reads
        ended = (self.sums or self.scales) and self.sums <= total and self.scales <= scale
        self.sums -= total and self.sums > 0
        self.scales -= scale and self.scales > 0
        return JoinerStep(bool(ended), first, taken)


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
        scaled = command + heads
        first = scaled + config.latency
        words = list(range(first, first + passes * heads * beats))
        result.append(JoinCycles(command, list(range(command + 1, command + heads * beats + 1)),
                                 list(range(command + 1, scaled + 1)), words, scaled + 2))
        command = scaled + 2 + passes * heads * beats
    return result
