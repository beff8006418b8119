# SPDX-License-Identifier: Apache-2.0
"""Cycles of :mod:`hw.sparse.masked_linear`; its values have a module of that name here.

The parts hold each other up: a channel that the product does not take yet stays in the compactor,
whose full queue stops the quantiser, which stops the words.  So their models run together, each
transfer's cycle being the earliest that its neighbours allow.
"""

from collections.abc import Callable
from typing import NamedTuple

from golden_model.quant import scale_program
from golden_model.quant_config import FloatUnitConfig
from golden_model.sparse.compactor import Emission, beat_counts
from golden_model.sparse.masked_linear import MaskedVector, masked_codes
from golden_model.sparse.sparse_product import blocks
from golden_model.sparse_config import CompactorConfig, MaskedLinearConfig

__all__ = ["MaskedCycles", "MaskedLinearCycles", "RequestWay"]


class MaskedCycles(NamedTuple):
    """The cycle of every transfer of one vector."""

    command: int
    words: list[int]
    """On ``i``, both passes."""
    requests: list[int]
    weights: list[int]
    sums: list[int]
    scale: int


class RequestWay:
    """Requests on their way to a memory that reads one column's beats after another's.

    An index becomes a burst in two stages, which stand still as one while the second is not taken;
    behind them is room for one burst, from which the memory takes it when it has begun with the one
    before.

    Parameters
    ----------
    latency
        Cycles from a burst that the memory takes to its first beat.
    """

    STAGES = 2

    def __init__(self, latency: int) -> None:
        self.latency = latency
        self._bursts: list[tuple[int, int]] = [(-1, -1)] * self.STAGES
        """When each of the newest ones was offered, and left the stages."""
        self._taken = self._begins = self._ends = -1
        """When the memory took the newest one, reads its first beat, can read the next one's."""

    def free(self, now: int) -> int:
        """Return when a request is taken that is offered from cycle `now` on."""
        for offered, taken in self._bursts:
            if offered <= now < taken:
                now = taken
        return now

    def take(self, now: int, count: int) -> int:
        """Take a request for `count` beats; return when the first one comes."""
        offered = max(now + 1, self._bursts[-1][1]) + 1
        left = max(offered, self._taken + 1)
        self._taken = max(left, self._begins)
        self._begins = max(self._taken + 1, self._ends)
        self._ends = self._begins + count
        self._bursts = [*self._bursts[1:], (offered, left)]
        return self._begins - 1 + self.latency


class _Product:
    """The sparse product, one channel at a time, whenever that may come.

    :func:`golden_model.sparse.sparse_product.sparse_cycles` knows the same of channels that come as
    early as they can.
    """

    def __init__(self, config: MaskedLinearConfig, latency: int, way: RequestWay | None) -> None:
        self.config, self.latency, self.way = config.product, latency, way
        self.requests: list[int] = []
        self.weights: list[int] = []
        self.sums: list[int] = []
        self.count = 0
        self._pops: list[int] = []  # the cycle in which each queued code was used up
        self._step = self._unpacked = self._taken = -1
        self._held: int | None = None  # when beats can come of the channel that is not queued yet

    def accept(self, arrival: int, end: bool) -> int:
        """Return when a channel, or the end, is taken that is offered from `arrival` on."""
        now = max(arrival, self._taken + 1)
        if self._held is not None or end:
            if len(self._pops) >= self.config.in_flight:
                now = max(now, self._pops[-self.config.in_flight] + 1)
        if self.way is not None and not end:
            now = self.way.free(now)
        if self._held is not None or end:
            self._add(now, end)
        self._held = None if end else (
            now + self.latency if self.way is None else self.way.take(now, self.count))
        if not end:
            self.requests.append(now)
        self._taken = now
        return now

    def _add(self, queued: int, last: bool) -> None:
        """Add the held column's beats, or those of none."""
        for _ in range(self.count):
            self._step = max(self._step, queued) + 1
            if self._held is not None:
                # A beat passes into the unpacker as the one before leaves it.
                self.weights.append(max(self._held, self._unpacked,
                                        self.weights[-1] + 1 if self.weights else 0))
                self._step = self._unpacked = max(self._step, self.weights[-1] + 1)
            if last:
                self.sums.append(self._step + self.config.latency - 1)
        self._pops.append(self._step)


class _Channels(Emission):
    """A compactor whose elements wait for the product."""

    def __init__(self, config: CompactorConfig, product: _Product) -> None:
        super().__init__(config)
        self._product = product

    def offer(self, arrival: int, count: int, last: bool) -> int:
        """Return when a beat with `count` elements is taken that is offered from `arrival` on."""
        before, was_left = len(self.emitted), len(self._left)
        at = super().offer(arrival, count, last)
        for number in range(before, len(self.emitted)):
            end = last and number == len(self.emitted) - 1
            self.emitted[number] = self._product.accept(self.emitted[number], end)
        if len(self._left) > was_left:
            self._left[-1] = self.emitted[-1]
        return at


class MaskedLinearCycles:
    """Cycles of consecutive vectors from reset on.

    Parameters
    ----------
    latency
        Cycles from a request to its first beat on ``i_weights``, at least 1; one beat a cycle.
    way
        What stands for it, if requests wait for each other.
    """

    def __init__(self, config: MaskedLinearConfig, unit: FloatUnitConfig,
                 latency: int, way: RequestWay | None = None) -> None:
        self.config, self.unit = config, unit
        self._product = _Product(config, latency, way)
        self._free = 0  # since when the quantiser has been free to look at a command
        self._cleared = config.top_k.selector.histogram_clear

    def run(self, vector: MaskedVector, m: int, *, command: int = 0,
            words: list[int] | None = None) -> MaskedCycles:
        """Cycles of one vector for `m` outputs, if nothing waits but as follows.

        Parameters
        ----------
        command
            The cycle from which on the command is offered.
        words
            The cycle from which on each beat of both passes is offered; 0 unless given.
        """
        config, unit = self.config, self.unit
        beats = -(-vector.x.size // config.lanes)
        offered = words or [0] * (2 * beats)
        start = max(command, self._free) + 3  # the program loads four constants
        taken: list[int] = []
        for arrival in offered[:beats]:
            taken.append(max(arrival, (taken[-1] if taken else start) + 1))
        go = taken[-1] + config.quantiser.statistics_latency
        ratio = go + scale_program.cycles(unit, scale_program.RATIO_OPERATIONS)
        scale = go + scale_program.cycles(unit, scale_program.operations(vector.norm is not None))
        codes, _ = masked_codes(vector)
        selected = None if vector.keep is None else vector.block
        return self.finish(beat_counts(config.compactor, codes, codes != 0), m, selected=selected,
                           command=start, taken=taken, offered=offered[beats:], codes=ratio + 2,
                           scale=scale)

    def finish(self, counts: list[int], m: int, *, selected: int | None, command: int,
               taken: list[int], offered: list[int], codes: int, scale: int) -> MaskedCycles:
        """Cycles of a vector of whose first pass everything is known.

        Parameters
        ----------
        counts
            Codes of each beat that are kept and not zero.
        selected
            Elements that are selected together, 0 for all; None without a selection.
        command, taken
            Transfers of the command and of the first pass.
        offered, codes
            The cycle from which on each beat of the second pass is offered; that from which on they
            are taken.
        scale
            Transfer of the quantiser's scale.
        """
        product, scale = self._product, scale + 1 + self.unit.latency["mul"] + 1
        product.count = blocks(self.config.product, m)
        product.requests, product.weights, product.sums = [], product.weights[-1:], []
        old = len(product.weights)
        channels, beats = _Channels(self.config.compactor, product), len(counts)
        if selected is None:
            self._codes(taken, offered, codes,
                        lambda beat, cycle: channels.offer(cycle, counts[beat], beat == beats - 1))
        else:
            selection = _Selection(self.config, channels, counts, selected, command + 1,
                                   self._cleared)
            self._codes(taken, offered, codes, selection.load)
            self._cleared = selection.cleared
        self._free = max(product.sums[-1], scale) + 2
        return MaskedCycles(command, taken, product.requests, product.weights[old:], product.sums,
                            scale)

    def _codes(self, taken: list[int], offered: list[int], now: int,
               accept: Callable[[int, int], int]) -> None:
        """Append when the second pass is taken: a pipeline that stops while codes wait.

        Two beats of them wait outside, so that only the next one stops it: one leaves from a
        register, the other follows once that is taken.

        Parameters
        ----------
        accept
            Returns when a beat's codes are taken, from its number and when they are offered.
        """
        stages: list[bool] = []  # for each step of the pipeline, whether a beat entered
        entered = left = free = gone = 0
        while left < len(offered):
            out = len(stages) - self.config.quantiser.latency
            if out >= 0 and stages[out]:
                now = max(now, free)
                held = max(now, gone)
                gone, free = accept(left, held + 1), held + 1
                left += 1
            enters = entered < len(offered) and offered[entered] <= now
            stages.append(enters)
            if enters:
                taken.append(now)
                entered += 1
            now += 1


class _Selection:
    """Top-K between the codes and the compactor, as ``golden_model.sparse.top_k_cycles`` has it."""

    def __init__(self, config: MaskedLinearConfig, channels: _Channels, counts: list[int],
                 block: int, ready: int, cleared: int) -> None:
        self.cleared = cleared
        self._channels, self._counts = channels, counts
        self._segment = block // config.lanes if block else len(counts)
        self._search = (config.top_k.block_selector.bit_serial_latency if block
                        else config.top_k.selector.histogram_latency)
        self._clear = 0 if block else config.top_k.selector.histogram_clear
        self._ready = ready if block else max(ready, cleared)
        self._released = 0
        self._result = -1

    def load(self, beat: int, offered: int) -> int:
        """Return when a beat of codes is taken; at a segment's end, mask and emit the segment."""
        now = max(offered, self._ready)
        self._ready = now + 1
        end = beat + 1
        if end % self._segment and end < len(self._counts):
            return now
        # A search ends once its predecessor's result was taken; the output stage takes a result
        # with the last beat of the segment before.
        self._ready = max(now + self._search, self._result + 1)
        self._result = max(self._ready, self._released)
        for number in range((end - 1) // self._segment * self._segment, end):
            self._released = self._channels.offer(max(self._result, self._released) + 1,
                                                  self._counts[number],
                                                  number == len(self._counts) - 1)
        if self._clear:
            self.cleared = self._result + 1 + self._clear
        return now
