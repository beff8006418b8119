# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.score`: scores, and handshakes cycle by cycle."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Ints
from golden_model.attention_config import ScoreConfig
from golden_model.kv.row_code import row_steps

__all__ = ["Load", "ScoreCycles", "ScoreStep", "Word", "beats", "bos_steps", "row_words", "scores"]


class Load(NamedTuple):
    """A command: beats of a head's query, words of a row."""

    beats: int
    words: int


class Word(NamedTuple):
    """What a word of a row says about itself."""

    bos: bool
    last_word: bool
    last: bool


class ScoreStep(NamedTuple):
    """What is transferred in one cycle."""

    command: bool
    query: bool
    row: bool
    o: bool
    """``o.valid``, taken if it was ready."""
    last: bool
    """Whether what is on ``o`` ends the pass."""


def bos_steps(codes: Ints, code_bits: int, bos_bits: int, kv_code: str = "midrise",
              zeros: Ints | int = 0) -> Ints:
    """Map a pass's codes to steps [T, n]; the first row is the BOS row, of its own width."""
    steps = row_steps(codes, code_bits, kv_code, zeros)
    if kv_code != "minmax":
        steps[0] = row_steps(codes[0], bos_bits, kv_code)
    return steps


def scores(config: ScoreConfig, queries: Ints, codes: Ints, zeros: Ints | int = 0) -> Ints:
    """Scores [T, queries] of query codes [queries, n] and a pass's rows of codes [T, n].

    Rows of min/max codes have zero points [T].
    """
    steps = bos_steps(codes, config.code_bits, config.bos_bits, config.kv_code, zeros)
    return np.asarray(steps @ queries.T)


def beats(values: Ints, size: int) -> Ints:
    """Cut [..., n] into beats [..., b, size], zeros past the end."""
    pad = [(0, 0)] * (values.ndim - 1) + [(0, -values.shape[-1] % size)]
    return np.pad(values, pad).reshape(*values.shape[:-1], -1, size)


def row_words(rows: int, words: int) -> list[Word]:
    """Words of one pass in the order in which they are read."""
    return [Word(row == 0, word == words - 1, row == rows - 1)
            for row in range(rows) for word in range(words)]


class ScoreCycles:
    """Handshakes of the scores, cycle by cycle."""

    def __init__(self, config: ScoreConfig) -> None:
        self.config = config
        self.full = [False, False]
        self.fill = self.bank = 0
        self.loading = self.second = False
        self.beat = self.group = self.query = 0
        self.pipe: list[bool | None] = [None] * (config.latency - 1)
        """None, or whether the row that a beat ends is the last."""
        self.valid = self.last = False

    def step(self, command: Load | None, query: bool, row: Word | None, o_ready: bool) -> ScoreStep:
        """Go through one cycle, given what is offered; ``row`` None offers nothing."""
        shown, shown_last = self.valid, self.last
        advance = not shown or o_ready
        splits = row is not None and row.bos and self.config.bos_bits > self.config.code_bits
        taken = row is not None and self.full[self.bank] and advance
        ends = not splits or self.second
        command_taken, query_taken, filled = self._load(command, query)
        released = False
        if advance:
            out = self.pipe.pop()
            self.valid, self.last = out is not None, bool(out)
            self.pipe.insert(0, None)
        if taken and row is not None:
            self.second = not ends
            if ends and row.last_word:
                self.pipe[0], released = row.last, row.last
        if filled:
            self.full[self.fill ^ 1] = True
        if released:
            self.full[self.bank] = False
            self.bank ^= 1
        return ScoreStep(command_taken, query_taken, taken and ends, shown, shown_last)

    def _load(self, command: Load | None, query: bool) -> tuple[bool, bool, bool]:
        """Loader: whether command and query beat are taken, and a bank gets full."""
        config = self.config
        if not self.loading:
            self.loading = command is not None and not self.full[self.fill]
            return False, False, False
        assert command is not None
        beyond = self.beat == command.beats
        if not (beyond or query):
            return False, False, False
        self.beat += not beyond
        self.group += 1
        if self.group < command.words * config.lanes // config.beat:
            return False, not beyond, False
        self.group = self.beat = 0
        self.query = (self.query + 1) % config.queries
        if self.query:
            return False, not beyond, False
        self.loading, self.fill = False, self.fill ^ 1
        return True, not beyond, True
