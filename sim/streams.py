# SPDX-License-Identifier: Apache-2.0
"""cocotb drivers and monitors of streams, one clock edge at a time.

Nothing here starts a task of its own: a bench moves all its streams with one `Clocked` loop, so
that what happens in a cycle is seen in one place, and a simulated cycle costs little Python.
"""

import random
from collections import deque

from cocotb.triggers import FallingEdge, RisingEdge

__all__ = ["Clocked", "Memory", "Stalls", "StreamDriver", "StreamMonitor"]


class Stalls:
    """Whether a stream goes ahead in a cycle: never stalled, at random, or in bursts.

    Parameters
    ----------
    rate
        Share of cycles that are stalled.
    burst
        Mean length of a stall, in cycles.
    seed
        The same seed gives the same stalls.
    """

    def __init__(self, rate=0.0, burst=1, seed=0):
        if not 0 <= rate < 1 or burst < 1:
            raise ValueError(f"rate must lie in [0, 1) and burst be at least 1, not {rate}, "
                             f"{burst}")
        self.rate = rate
        self._burst = burst
        # Where stalls would have to follow each other without a gap, they last longer.
        self._leave = 1 / max(burst, rate / (1 - rate))
        self._enter = rate * self._leave / (1 - rate)
        self._random = random.Random(seed)
        self._stalled = False

    def __call__(self):
        """Return whether this cycle goes ahead."""
        if not self.rate:
            return True
        if self._burst == 1:
            return self._random.random() >= self.rate
        if self._stalled:
            self._stalled = self._random.random() >= self._leave
        else:
            self._stalled = self._random.random() < self._enter
        return not self._stalled


class _Port:
    """Handles of one stream of the device under test."""

    def __init__(self, dut, name, stalls):
        self.name = name
        self.payload = getattr(dut, f"{name}__payload")
        self.valid_handle = getattr(dut, f"{name}__valid")
        self.ready_handle = getattr(dut, f"{name}__ready")
        self.stalls = stalls or Stalls()
        self.valid = self.ready = False
        self.cycles = []


class StreamDriver(_Port):
    """Offers payloads, given as integers, on an input stream."""

    def __init__(self, dut, name, stalls=None, payloads=()):
        super().__init__(dut, name, stalls)
        self.queue = deque(payloads)
        self.valid_handle.value = 0

    def drive(self):
        """Offer the next payload, unless stalled; an offered one stays until it is taken."""
        if not self.valid and self.queue and self.stalls():
            self.payload.value = self.queue[0]
            self.valid_handle.value = 1
            self.valid = True

    def sample(self, cycle):
        """Note the handshake of this cycle."""
        self.ready = bool(int(self.ready_handle.value))
        self.offered = self.queue[0] if self.valid else None
        if self.valid and self.ready:
            self.cycles.append(cycle)
        return self.valid, self.ready

    def advance(self):
        """Drop the payload if it was taken in the cycle that ends."""
        if self.valid and self.ready:
            self.queue.popleft()
            self.valid = bool(self.queue) and self.stalls()
            if self.valid:
                self.payload.value = self.queue[0]
            else:
                self.valid_handle.value = 0
        else:
            self.drive()


class StreamMonitor(_Port):
    """Takes payloads, as integers, from an output stream, and checks that offers are kept."""

    def __init__(self, dut, name, stalls=None):
        super().__init__(dut, name, stalls)
        self.payloads = []
        self._kept = None
        self.ready_handle.value = 0

    def drive(self):
        """Be ready, unless stalled."""
        ready = self.stalls()
        if ready != self.ready:
            self.ready = ready
            self.ready_handle.value = int(ready)

    advance = drive

    def sample(self, cycle):
        """Note the handshake of this cycle, and the payload that is transferred."""
        self.valid = bool(int(self.valid_handle.value))
        if self._kept is not None:
            assert self.valid, f"{self.name} took an offer back in cycle {cycle}"
        if self.valid:
            payload = int(self.payload.value)
            assert self._kept in (None, payload), f"{self.name} changed an offer in cycle {cycle}"
            self._kept = None if self.ready else payload
            if self.ready:
                self.cycles.append(cycle)
                self.payloads.append(payload)
        return self.valid, self.ready

    def forget(self):
        """Expect no offer to be kept: the device was reset."""
        self._kept = None


class Memory:
    """Answers requests that a monitor takes: a burst each, in order, on a driver.

    Parameters
    ----------
    requests, answers
        The monitor and the driver.
    latency
        Cycles from a request to its burst's first payload, at least 1.
    bursts
        Lists of payloads; more may be appended to ``bursts`` later.
    """

    def __init__(self, requests, answers, latency, bursts=()):
        self.bursts = deque(bursts)
        self._requests, self._answers, self._latency = requests, answers, latency
        self._answered = 0

    def offer(self, cycle):
        """Queue what may be offered from the next cycle on; to be called ahead of every cycle."""
        while (self._answered < len(self._requests.cycles)
               and self._requests.cycles[self._answered] + self._latency <= cycle + 1):
            self._answers.queue.extend(self.bursts.popleft())
            self._answered += 1


class Clocked:
    """Moves streams cycle by cycle: samples on the falling edge, drives after the rising one.

    The device must have ``clk`` and ``rst``; whoever owns the bench starts the clock.
    """

    def __init__(self, dut, *streams):
        self.dut = dut
        self.streams = streams
        self.cycle = 0

    async def reset(self, cycles=2):
        """Hold ``rst`` for some cycles; cycle 0 begins when it is gone."""
        self.dut.rst.value = 1
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        for stream in self.streams:
            stream.drive()
        self.cycle = 0

    async def step(self):
        """Go through one cycle; returns (valid, ready) of each stream."""
        await FallingEdge(self.dut.clk)
        seen = [stream.sample(self.cycle) for stream in self.streams]
        await RisingEdge(self.dut.clk)
        for stream in self.streams:
            stream.advance()
        self.cycle += 1
        return seen
