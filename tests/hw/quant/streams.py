# SPDX-License-Identifier: Apache-2.0
"""Drive and collect streams in the Amaranth simulator, with stalls, counting cycles."""

import numpy as np
from amaranth.sim import Simulator

__all__ = ["Recorder", "exchange", "source"]


class Recorder:
    """Collects payloads of one stream and the cycle of each transfer."""

    def __init__(self, stream, count, *, stall=0.0, seed=3):
        self.stream, self.count, self.stall = stream, count, stall
        self.rng = np.random.default_rng(seed)
        self.payloads, self.cycles = [], []

    async def run(self, ctx):
        cycle, held = 0, None
        while len(self.payloads) < self.count:
            ready = self.rng.random() >= self.stall
            ctx.set(self.stream.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(self.stream.valid, self.stream.payload)
            assert held is None or (valid and payload == held), "a waiting payload changed"
            held = payload if valid and not ready else None
            if valid and ready:
                self.payloads.append(payload)
                self.cycles.append(cycle)
            cycle += 1
        ctx.set(self.stream.ready, 0)


def source(stream, payloads, *, stall=0.0, seed=2, cycles=None):
    """Return a testbench that sends `payloads`, and notes the cycle of each transfer."""
    async def run(ctx):
        rng, cycle = np.random.default_rng(seed), 0
        for payload in payloads:
            while rng.random() < stall:
                ctx.set(stream.valid, 0)
                await ctx.tick()
                cycle += 1
            ctx.set(stream.payload, payload)
            ctx.set(stream.valid, 1)
            ready = 0
            while not ready:
                _, _, ready = await ctx.tick().sample(stream.ready)
                cycle += 1
            if cycles is not None:
                cycles.append(cycle - 1)
        ctx.set(stream.valid, 0)
    return run


def exchange(dut, *testbenches):
    """Simulate until every testbench is done."""
    sim = Simulator(dut)
    sim.add_clock(1e-8)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    sim.run()
