# SPDX-License-Identifier: Apache-2.0
"""Handshakes of what the gated product is joined from, cycle by cycle, under any stalls.

Each class holds what the hardware's registers hold.  Properties are what its outputs answer in this
cycle, ``tick`` goes on to the next one.
"""

from collections import deque
from typing import Generic, NamedTuple, TypeVar

from golden_model.mac.trit_unpacker import UnpackerCycles
from golden_model.sparse_config import CompactorConfig, RowGatherConfig

__all__ = ["BufferedQueue", "CompactorSteps", "GatherSteps", "Pipeline", "Row"]

Item = TypeVar("Item")


class Row(NamedTuple):
    """A row that is named, or the end marker behind the last."""

    number: int
    end: bool


class BufferedQueue(Generic[Item]):
    """Queue in block memory: an entry is there two cycles after it was put in."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.inner: deque[Item] = deque()
        self.head: Item | None = None

    @property
    def ready(self) -> bool:
        """Whether it takes an entry in this cycle."""
        return len(self.inner) < self.depth - 1

    def tick(self, put: Item | None, take: bool) -> None:
        """Go on, with `put` offered if not None, its head taken or not."""
        fits = self.ready
        if self.head is None or take:
            self.head = self.inner.popleft() if self.inner else None
        if put is not None and fits:
            self.inner.append(put)


class Pipeline(Generic[Item]):
    """Stages that stand still as one while the last of them is not taken."""

    def __init__(self, latency: int) -> None:
        self.stages: list[Item | None] = [None] * latency

    @property
    def out(self) -> Item | None:
        """Entry on ``o`` in this cycle."""
        return self.stages[-1]

    def ready(self, o_ready: bool) -> bool:
        """Whether it moves in this cycle."""
        return o_ready or self.out is None

    def tick(self, put: Item | None, o_ready: bool) -> None:
        """Go on, with `put` on ``i`` if not None."""
        if self.ready(o_ready):
            self.stages = [put, *self.stages[:-1]]


class CompactorSteps:
    """:mod:`hw.sparse.compactor` without codes: masks in, rows out."""

    def __init__(self, config: CompactorConfig) -> None:
        self.config = config
        self.beat = 0
        self.queue: deque[deque[Row]] = deque()

    @property
    def ready(self) -> bool:
        """``i.ready`` in this cycle."""
        return len(self.queue) < self.config.queue

    @property
    def out(self) -> Row | None:
        """Row on ``o`` in this cycle."""
        return self.queue[0][0] if self.queue else None

    def tick(self, mask: tuple[list[int], bool] | None, take: bool) -> None:
        """Go on, with active lanes and whether the vector ends on ``i`` if not None."""
        fits = self.ready
        if take and self.queue:
            self.queue[0].popleft()
            if not self.queue[0]:
                self.queue.popleft()
        if mask is not None and fits:
            lanes, last = mask
            rows = deque(Row(self.beat * self.config.lanes + lane, False) for lane in lanes)
            if last:
                rows.append(Row(0, True))
            if rows:
                self.queue.append(rows)
            self.beat = 0 if last else self.beat + 1


class GatherSteps:
    """:mod:`hw.sparse.row_gather`, its vector loaded."""

    def __init__(self, config: RowGatherConfig) -> None:
        self.config = config
        self.queue: deque[Row] = deque()
        self.unpacker = UnpackerCycles()
        self.block = 0
        # Rows of beats under way: the operands, the dot product, the sum.  None in a beat that does
        # not end its row.
        self.beats: Pipeline[tuple[Row | None]] = Pipeline(1 + config.dot.latency)
        self.out: Row | None = None

    def _step(self, o_ready: bool) -> tuple[bool, bool]:
        """Whether a beat is multiplied in this cycle, and whether it takes weights."""
        if not self.queue or not self.beats.ready(self.out is None or o_ready):
            return False, False
        weights = not self.queue[0].end
        return not weights or self.unpacker.valid, weights and self.unpacker.valid

    def w_ready(self, o_ready: bool) -> bool:
        """``i_weights.ready`` in this cycle."""
        return self.unpacker.ready(self._pops(o_ready))

    def _pops(self, o_ready: bool) -> bool:
        """Whether the unpacker's ``o.ready`` is set."""
        return bool(self.queue and not self.queue[0].end
                    and self.beats.ready(self.out is None or o_ready))

    @property
    def room(self) -> bool:
        """Whether another row may be requested in this cycle."""
        return len(self.queue) < self.config.in_flight

    def tick(self, row: Row | None, blocks: int, w_valid: bool, o_ready: bool) -> None:
        """Go on, with a row of `blocks` beats taken on ``i`` if not None."""
        step, _ = self._step(o_ready)
        o_moves = self.out is None or o_ready
        done: tuple[Row | None] | None = None
        ends = False
        if step:
            head = self.queue[0]
            ends = head.end or self.block == blocks - 1
            done = (head if ends else None,)
            self.block = 0 if ends else self.block + 1
        summed = self.beats.out
        self.unpacker.tick(w_valid, self._pops(o_ready))
        self.beats.tick(done, o_moves)
        if o_moves:
            self.out = summed[0] if summed is not None else None
        if ends:
            self.queue.popleft()
        if row is not None:
            self.queue.append(row)
