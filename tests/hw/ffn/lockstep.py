# SPDX-License-Identifier: Apache-2.0
"""Streams moved cycle by cycle in one testbench, so that a model can answer beside the hardware."""

from collections import deque

import numpy as np

from golden_model import smallfloat
from golden_model.formats import pack_2bit, pack_base3
from sim.simulator import simulate

__all__ = ["Memory", "Sink", "Source", "Unit", "lockstep", "packed", "small"]

PATIENCE = 500
"""Cycles without a transfer after which a run counts as hung."""


def small(value):
    """Small float as the fields of its layout."""
    m, e = smallfloat.split(np.asarray(value))
    return {"m": int(m), "e": int(e)}


def packed(packing, trits):
    """Beat of trits as the integer on a port."""
    pack = {"2bit": pack_2bit, "base3": pack_base3}[packing]
    return int.from_bytes(pack(trits).tobytes(), "little")


class Source:
    """Offers payloads; what is offered stays until it is taken."""

    def __init__(self, port, payloads=(), stall=0.0, seed=1):
        self.port, self.stall = port, stall
        self.queue = deque(payloads)
        self.rng = np.random.default_rng(seed)
        self.valid, self.cycles = False, []

    def arrived(self, cycle):
        """Whether the next payload may be offered."""
        return bool(self.queue)

    def drive(self, ctx, cycle):
        if not self.valid and self.arrived(cycle) and self.rng.random() >= self.stall:
            self.valid = True
            ctx.set(self.port.payload, self.queue[0])
        ctx.set(self.port.valid, self.valid)

    def sample(self, ctx, cycle):
        self.taken = self.valid and bool(ctx.get(self.port.ready))
        if self.taken:
            self.queue.popleft()
            self.valid = False
            self.cycles.append(cycle)


class Memory(Source):
    """Answers the requests that a sink takes with bursts, in order, `latency` cycles later."""

    def __init__(self, port, requests, bursts, latency, stall=0.0, seed=5):
        super().__init__(port, [beat for burst in bursts for beat in burst], stall, seed)
        self.requests, self.latency = requests, latency
        self.owners = deque(n for n, burst in enumerate(bursts) for _ in burst)

    def arrived(self, cycle):
        return bool(self.owners) and self.owners[0] < len(self.requests.cycles) and (
            cycle >= self.requests.cycles[self.owners[0]] + self.latency)

    def sample(self, ctx, cycle):
        super().sample(ctx, cycle)
        if self.taken:
            self.owners.popleft()


class Sink:
    """Takes payloads and checks that offers are kept."""

    def __init__(self, port, stall=0.0, seed=2):
        self.port, self.stall = port, stall
        self.rng = np.random.default_rng(seed)
        self.payloads, self.cycles = [], []
        self.kept, self.taken = None, False

    def drive(self, ctx, cycle):
        self.ready = self.rng.random() >= self.stall
        ctx.set(self.port.ready, self.ready)

    def sample(self, ctx, cycle):
        self.valid = bool(ctx.get(self.port.valid))
        payload = ctx.get(self.port.payload) if self.valid else None
        assert self.kept is None or payload == self.kept, "a waiting payload changed"
        self.kept = payload if self.valid and not self.ready else None
        self.taken = self.valid and self.ready
        if self.taken:
            self.payloads.append(payload)
            self.cycles.append(cycle)


class Unit:
    """Multiplies small floats for one client, after a random wait if it stalls."""

    def __init__(self, request, response, latency=23, stall=0.0, seed=3):
        self.request, self.response = Sink(request), Source(response)
        self.latency, self.stall = latency, stall
        self.rng = np.random.default_rng(seed)
        self.until = None

    def drive(self, ctx, cycle):
        self.request.drive(ctx, cycle)
        if self.until is not None or (self.stall and self.rng.random() < self.stall):
            ctx.set(self.request.port.ready, 0)
            self.request.ready = False
        if self.until is not None and cycle >= self.until and not self.response.valid:
            fields = self.request.payloads[-1]
            a, b = (smallfloat.join(np.asarray(x.m), np.asarray(x.e)) for x in (fields.a, fields.b))
            self.response.queue.append(small(smallfloat.mul(a, b)))
        self.response.drive(ctx, cycle)

    def sample(self, ctx, cycle):
        before = len(self.request.payloads)
        self.request.sample(ctx, cycle)
        self.response.sample(ctx, cycle)
        if self.response.taken:
            self.until = None
        if len(self.request.payloads) > before:
            self.until = cycle + self.latency


def lockstep(dut, streams, finished, check=None):
    """Move `streams` until ``finished()``; `check` is called in each cycle, ahead of its edge."""
    async def testbench(ctx):
        cycle = busy = 0
        while cycle - busy < PATIENCE:
            for stream in streams:
                stream.drive(ctx, cycle)
            for stream in streams:
                stream.sample(ctx, cycle)
            if check:
                check(ctx, cycle)
            await ctx.tick()
            if finished():
                return
            if any(getattr(stream, "taken", False) for stream in streams):
                busy = cycle
            cycle += 1
        raise TimeoutError(f"hung in cycle {cycle}")

    simulate(dut, testbench)
