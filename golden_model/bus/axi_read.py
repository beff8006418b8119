# SPDX-License-Identifier: Apache-2.0
"""The AXI4 read master: bursts of a command, and its state cycle by cycle, faults included."""

from collections import deque
from typing import NamedTuple

from golden_model.bus_config import AxiReadConfig

__all__ = ["AxiRead", "Beat", "Burst", "Error", "Inputs", "bursts"]


class Burst(NamedTuple):
    """One AXI4 burst."""

    address: int
    length: int
    """Beats, from 1."""
    final: bool
    """Whether it is its command's last."""


class Beat(NamedTuple):
    """One transfer on R."""

    data: int
    last: bool
    response: int = 0
    id: int = 0


class Error(NamedTuple):
    """Causes, as :data:`hw.bus.axi_read.error_layout` has them."""

    slave: bool = False
    decode: bool = False
    protocol: bool = False


class Inputs(NamedTuple):
    """What the master sees in one cycle; None where ``valid`` is low."""

    command: tuple[int, int] | None = None
    """Byte address and beats."""
    ar_ready: bool = False
    r: Beat | None = None
    ready: bool = False
    """Of the beats' consumer."""
    stop: bool = False
    abandon: bool = False
    clear: bool = False


def bursts(config: AxiReadConfig, address: int, beats: int) -> list[Burst]:
    """Split a command at multiples of the longest burst.

    Parameters
    ----------
    address
        Of a byte; the bits below a beat's are ignored, and it wraps at ``config.address_bits``.
    beats
        At least 1.
    """
    index = address >> config.beat_shift
    end = index + beats
    parts = []
    while index < end:
        stop = min(end, (index // config.max_burst + 1) * config.max_burst)
        place = (index << config.beat_shift) % (1 << config.address_bits)
        parts.append(Burst(place, stop - index, stop == end))
        index = stop
    return parts


class AxiRead:
    """State of the master between two clock edges; its attributes are what its outputs show."""

    def __init__(self, config: AxiReadConfig) -> None:
        self.config = config
        self.split: deque[Burst] = deque()
        """Bursts of the command in the first register."""
        self.waiting: Burst | None = None
        """Burst that waits for room."""
        self.ar: Burst | None = None
        """Burst whose address is offered."""
        self.id = 0
        self.ledger: deque[Burst] = deque()
        self.position = 0
        self.filling = self.dropping = self.draining = False
        self.inner: deque[tuple[int, bool]] = deque()
        """Beats in the buffer's memory."""
        self.o: tuple[int, bool] | None = None
        """Beat, and whether it is its command's last, in the buffer's output register."""
        self.free = config.buffer_beats
        self.fault = Error()
        self.error = Error()
        self.error_address = 0
        self.progress = False

    @property
    def busy(self) -> bool:
        """Whether a command is being split, or a burst is under way."""
        return bool(self.split or self.waiting or self.ar or self.ledger)

    def ready(self, now: Inputs) -> bool:
        """Whether a command is taken in this cycle."""
        splits = bool(self.split) and (self.waiting is None or self.issues(now))
        return not (now.stop or self.draining) and (
            not self.split or (splits and len(self.split) == 1))

    def issues(self, now: Inputs) -> bool:
        """Whether the waiting burst is asked for."""
        return (self.waiting is not None and not now.stop and not self.draining
                and self.free >= self.waiting.length
                and len(self.ledger) < self.config.outstanding
                and (self.ar is None or now.ar_ready))

    def step(self, now: Inputs) -> None:
        """Go through one cycle."""
        ready, issue = self.ready(now), self.issues(now)
        drained = self.ar is None and not self.ledger
        forget = self.draining and now.abandon and self.ar is None
        self.progress = ((self.ar is not None and now.ar_ready)
                         or (now.r is not None and not self.filling))
        taken = self.o is not None and not self.draining and now.ready
        stored = self._receive(now)
        self._buffer(stored, taken)
        # Asking for bursts, from the last register to the first.
        self.free += taken
        if now.ar_ready:
            self.ar = None
        if issue and self.waiting is not None:
            self.free -= self.waiting.length
            self.ledger.append(self.waiting)
            self.ar, self.waiting = self.waiting, None
        if self.split and self.waiting is None:
            self.waiting = self.split.popleft()
        if ready and now.command is not None:
            self.split = deque(bursts(self.config, *now.command))
        if now.stop or self.draining:
            self.split.clear()
            self.waiting = None
        if forget:
            self.ledger.clear()
            self.position, self.filling, self.dropping = 0, False, False
            self.id = (self.id + 1) % (1 << self.config.id_bits)
        if self.draining:
            self.inner.clear()
            self.o = None
            self.free = self.config.buffer_beats
        self.draining = now.stop or (self.draining and not drained)

    def _receive(self, now: Inputs) -> tuple[int, bool] | None:
        """Follow R; returns the beat for the buffer."""
        head = self.ledger[0] if self.ledger else None
        ends = head is not None and self.position == head.length - 1
        beat = now.r if now.r is not None and not self.filling and now.r.id == self.id else None
        wrong = False
        stored = None
        done = False
        if self.filling and head is not None:
            stored, done = (0, head.final and ends), ends
        elif beat is not None and head is None:
            wrong = True
        elif beat is not None and head is not None and self.dropping:
            done = beat.last
        elif beat is not None and head is not None:
            stored = beat.data, head.final and ends
            wrong = beat.last != ends
            done = beat.last and ends
            self.filling, self.dropping = wrong and beat.last, wrong and ends
        self._note(now, Error(beat is not None and beat.response == 2,
                              beat is not None and beat.response == 3, wrong),
                   head.address if head is not None else 0)
        if done:
            self.ledger.popleft()
            self.position, self.filling, self.dropping = 0, False, False
        elif stored is not None and not ends:
            self.position += 1
        return stored

    def _note(self, now: Inputs, fault: Error, address: int) -> None:
        """Keep what went wrong."""
        before = Error() if now.clear else self.error
        if any(fault) and not any(before):
            self.error_address = address
        self.fault = fault
        self.error = Error(*(old or new for old, new in zip(before, fault, strict=True)))

    def _buffer(self, stored: tuple[int, bool] | None, taken: bool) -> None:
        """Move beats from the memory to the output register."""
        if taken:
            self.o = None
        if self.o is None and self.inner:
            self.o = self.inner.popleft()
        if stored is not None:
            self.inner.append(stored)
