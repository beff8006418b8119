# SPDX-License-Identifier: Apache-2.0
"""Streams under random stalls in the Amaranth simulator, with the cycle of every transfer."""

import numpy as np
from amaranth.sim import Simulator

LIMIT = 20_000
"""Cycles after which a testbench gives up."""


async def send(ctx, port, payloads, *, stall=0.0, seed=1, log=None):
    """Send `payloads`; append to `log` the cycle of each transfer."""
    rng = np.random.default_rng(seed)
    cycle = 0
    for payload in payloads:
        while rng.random() < stall:
            await ctx.tick()
            cycle += 1
        ctx.set(port.payload, payload)
        ctx.set(port.valid, 1)
        taken = False
        while not taken:
            assert cycle < LIMIT, "a payload is never taken"
            *_, taken = await ctx.tick().sample(port.ready)
            cycle += 1
        if log is not None:
            log.append(cycle - 1)
        ctx.set(port.valid, 0)


async def receive(ctx, port, count, got, *, stall=0.0, seed=2, log=None):
    """Append `count` payloads to `got` and their cycles to `log`."""
    rng = np.random.default_rng(seed)
    held = None
    for cycle in range(LIMIT):
        if len(got) == count:
            break
        ctx.set(port.ready, int(rng.random() >= stall))
        *_, valid, ready, payload = await ctx.tick().sample(port.valid, port.ready, port.payload)
        assert held is None or (valid and payload == held), "a payload changed before it was taken"
        held = payload if valid and not ready else None
        if valid and ready:
            got.append(payload)
            if log is not None:
                log.append(cycle)
    ctx.set(port.ready, 0)
    assert len(got) == count, f"{len(got)} of {count} payloads after {LIMIT} cycles"


def simulate(dut, *testbenches):
    """Run the testbenches together from cycle 0."""
    sim = Simulator(dut)
    sim.add_clock(1e-8)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    sim.run()


def beats(codes, lanes):
    """Rows of `lanes` codes, the last one filled up with a value that must not matter."""
    padded = np.pad(codes, (0, -codes.size % lanes), constant_values=-77)
    return padded.reshape(-1, lanes).tolist()


def lane_mask(flags, lanes):
    """Bit masks of `lanes` flags each; flags past the end are 0."""
    rows = np.pad(np.asarray(flags, np.int64), (0, -len(flags) % lanes)).reshape(-1, lanes)
    return (rows << np.arange(lanes)).sum(axis=1).tolist()


async def fetch(ctx, port, requested, bursts, latency, *, stall=0.0, seed=6, log=None):
    """Answer each request of the cycles in `requested` with a burst, `latency` cycles later."""
    rng = np.random.default_rng(seed)
    cycle = 0
    for number, burst in enumerate(bursts):
        for payload in burst:
            while (number >= len(requested) or cycle < requested[number] + latency
                   or rng.random() < stall):
                assert cycle < LIMIT, "a request is missing"
                await ctx.tick()
                cycle += 1
            ctx.set(port.payload, payload)
            ctx.set(port.valid, 1)
            taken = False
            while not taken:
                assert cycle < LIMIT, "a payload is never taken"
                *_, taken = await ctx.tick().sample(port.ready)
                cycle += 1
            if log is not None:
                log.append(cycle - 1)
            ctx.set(port.valid, 0)
