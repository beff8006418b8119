# SPDX-License-Identifier: Apache-2.0
"""Streams in the Amaranth simulator: drive and watch them cycle by cycle."""

from amaranth.sim import Simulator

LIMIT = 20_000
"""Cycles after which a simulation counts as hung."""


def simulate(dut, *testbenches):
    """Run test benches on `dut`, with a 100 MHz clock."""
    sim = Simulator(dut)
    sim.add_clock(1e-8)
    for testbench in testbenches:
        sim.add_testbench(testbench)
    sim.run()


def run_cycles(dut, sources, sinks, *, stall=0.0, rng=None, check=None, cycles=LIMIT):
    """Offer payloads and take results until every sink has what it expects.

    Parameters
    ----------
    sources
        Payloads by name of an input stream.
    sinks
        Number of results to take by name of an output stream.
    stall
        Probability that an input is not offered, or an output not taken, in a cycle.
    check
        Called each cycle with a dictionary of (valid, ready) by stream name.

    Returns
    -------
    dict
        For each sink, its transfers as (cycle, payload).
    """
    taken = {name: [] for name in sinks}

    async def testbench(ctx):
        pending = {name: list(payloads) for name, payloads in sources.items()}
        offered = dict.fromkeys(sources, False)
        for cycle in range(cycles):
            for name, payloads in pending.items():
                port = getattr(dut, name)
                if not offered[name]:
                    offered[name] = bool(payloads) and not (stall and rng.random() < stall)
                    if offered[name]:
                        ctx.set(port.payload, payloads[0])
                ctx.set(port.valid, offered[name])
            for name in sinks:
                ctx.set(getattr(dut, name).ready, not (stall and rng.random() < stall))
            seen = {name: (ctx.get(getattr(dut, name).valid), ctx.get(getattr(dut, name).ready))
                    for name in (*sources, *sinks)}
            if check:
                check(seen)
            for name in sinks:
                if all(seen[name]):
                    taken[name].append((cycle, ctx.get(getattr(dut, name).payload)))
            for name in sources:
                if all(seen[name]):
                    pending[name].pop(0)
                    offered[name] = False
            if all(len(taken[name]) >= count for name, count in sinks.items()) and not any(
                    pending.values()):
                return
            await ctx.tick()
        raise TimeoutError(f"no end after {cycles} cycles: {seen}, to come "
                           f"{ {name: len(rest) for name, rest in pending.items()} }")

    simulate(dut, testbench)
    return taken
