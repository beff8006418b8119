# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.weighted_sum`: sums, and handshakes cycle by cycle."""

from collections import deque
from typing import NamedTuple

import numpy as np

from golden_model.arrays import Ints
from golden_model.attention.score import Load, Word, bos_steps
from golden_model.attention_config import WeightedSumConfig

__all__ = ["WeightedSumCycles", "WeightedSumStep", "weighted_sums"]


def weighted_sums(config: WeightedSumConfig, weights: Ints, codes: Ints,
                  zeros: Ints | int = 0) -> Ints:
    """Multiply weights [T, queries] and a pass's rows of codes [T, n]: [queries, n].

    Rows of min/max codes have zero points [T].
    """
    steps = bos_steps(codes, config.code_bits, config.bos_bits, config.kv_code, zeros)
    return np.asarray(weights.T @ steps)


class WeightedSumStep(NamedTuple):
    """What is transferred in one cycle."""

    command: bool
    weight: bool
    row: bool
    o: bool
    """``o.valid``, taken if it was ready."""


class WeightedSumCycles:
    """Handshakes of the weighted sums, cycle by cycle."""

    def __init__(self, config: WeightedSumConfig) -> None:
        self.config = config
        self.command: Load | None = None
        self.ended = self.second = self.valid = False
        self.word = self.place = 0
        self.ends: deque[Load | None] = deque([None, None, None])
        self.beats = 0
        """Beats to deliver."""
        self.finished = Load(0, 1)

    def step(self, command: Load | None, weight: bool, row: Word | None,
             o_ready: bool) -> WeightedSumStep:
        """Go through one cycle, given what is offered."""
        shown, busy = self.valid, self.beats > 0
        advance = not (self.ends[-1] is not None and busy)
        if o_ready:
            self.valid = False
        if busy and (not shown or o_ready):
            self.valid, self.beats = True, self.beats - 1
        command_taken = self.command is None and advance and command is not None
        weight_taken = row_taken = False
        ended = self.ended
        if advance:
            done = self.ends.pop()
            if done is not None:
                self.beats = done.beats * self.config.queries
            self.ends.appendleft(self.finished if ended else None)
            self.ended = False
            if self.command is not None and weight and row is not None:
                weight_taken, row_taken = self._word(self.command, row)
        if command_taken:
            self.command, self.word, self.place = command, 0, 0
        return WeightedSumStep(command_taken, weight_taken, row_taken, shown)

    def _word(self, command: Load, row: Word) -> tuple[bool, bool]:
        """Take a word, or half of a BOS row's, if it is its turn in the ring."""
        fits = self.word == self.place
        self.place = (self.place + 1) % command.words
        if not fits:
            return False, False
        splits = row.bos and self.config.bos_bits > self.config.code_bits
        if splits and not self.second:
            self.second = True
            return False, False
        self.second = False
        self.word = 0 if row.last_word else self.word + 1
        if row.last_word and row.last:
            self.finished, self.command, self.ended = command, None, True
        return row.last_word, True
