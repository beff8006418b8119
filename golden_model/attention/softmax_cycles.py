# SPDX-License-Identifier: Apache-2.0
"""Cycles of :mod:`hw.attention.softmax`: its handshakes, cycle by cycle."""

from collections import deque
from typing import NamedTuple

from golden_model.softmax_config import SoftmaxConfig

__all__ = ["SoftmaxCycles", "SoftmaxStep"]

TOTALS = 2
"""Passes between the start of their second stage and the transfer of their totals."""


class SoftmaxStep(NamedTuple):
    """What is valid, or ready, in one cycle."""

    unit: bool
    """The unit is taken."""
    i: bool
    """``i.ready``."""
    total: bool
    """``o_total.valid``."""
    ratio: bool
    """The ratio is taken."""
    o: bool
    """``o.valid``."""


class SoftmaxCycles:
    """Handshakes of the softmax, cycle by cycle."""

    def __init__(self, config: SoftmaxConfig) -> None:
        self.config = config
        self.cycle = 0
        self.free = config.banks
        self.count = 0
        """Rows accepted of the pass that comes in."""
        self.stored: deque[tuple[int, int]] = deque()
        """Cycle in which a pass is seen to be stored, and its rows."""
        self.rows: deque[int] = deque()
        """Rows of passes that were weighed or are, oldest first, until their codes are read."""
        self.owed = self.left = 0
        self.done: deque[int] = deque()
        """Cycles from which totals are valid."""
        self.loaded = self.loaded_last = False
        self.row = 0
        self.pipe = [False] * config.code.latency

    def step(self, unit: bool, row: bool | None, total_ready: bool, ratio: bool,
             o_ready: bool) -> SoftmaxStep:
        """Go through one cycle, given what is offered; `row` says whether it is the last."""
        accepts = self.free > 0 and unit
        taken = accepts and row is not None
        unit_taken = taken and bool(row)
        total = bool(self.done) and self.done[0] <= self.cycle
        shown = self.pipe[-1]
        ratio_taken = self._encode(ratio, not shown or o_ready)
        self._weigh(total and total_ready)
        if taken:
            self.count += 1
        if unit_taken:
            self.stored.append((self.cycle + self.config.log_score.latency + 1, self.count))
            self.count = 0
        self.free += ratio_taken - unit_taken
        self.cycle += 1
        return SoftmaxStep(unit_taken, accepts, total, ratio_taken, shown)

    def _weigh(self, given: bool) -> None:
        """Second stage: ``abreast`` rows a cycle, without gaps."""
        begin = (bool(self.stored) and self.stored[0][0] <= self.cycle and self.owed < TOTALS
                 and self.left <= 1)
        if given:
            self.done.popleft()
        self.left = max(0, self.left - 1)
        self.owed += begin - given
        if begin:
            self.rows.append(self.stored.popleft()[1])
            self.left = -(-self.rows[-1] // self.config.abreast)
            # The last row is read `left` cycles later, then weighed, then its totals are queued.
            self.done.append(self.cycle + self.left + self.config.weigh_latency + 1)

    def _encode(self, ratio: bool, advance: bool) -> bool:
        """Third stage: whether the ratio is taken, and with it a bank is free again."""
        taken = self.loaded and advance
        ratio_taken = taken and self.loaded_last
        fetch = ratio and (not self.loaded or (taken and not self.loaded_last))
        if advance:
            self.pipe = [self.loaded, *self.pipe[:-1]]
        if fetch:
            self.row += 1
            self.loaded, self.loaded_last = True, self.row == self.rows[0]
            if self.loaded_last:
                self.row = 0
                self.rows.popleft()
        elif taken:
            self.loaded = False
        return ratio_taken
