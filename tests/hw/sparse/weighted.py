# SPDX-License-Identifier: Apache-2.0
"""What products that fetch their weights have in common: elements, requests, bursts, sums."""

from golden_model.formats import pack_2bit, pack_base3
from sim.simulator import fetch, receive, send, simulate

__all__ = ["exchange", "packed"]


def packed(config, trits):
    """Return one beat of weights as an integer."""
    pack = {"2bit": pack_2bit, "base3": pack_base3}[config.packing]
    return int.from_bytes(pack(trits).tobytes(), "little")


def exchange(dut, load, elements, bursts, count, *, latency, start=0, stall=0.0):
    """Send `elements` and answer their requests with `bursts`, until there are `count` sums.

    All of that begins in cycle `start`; the testbench `load` runs beside it from the first.

    Returns
    -------
    list, list, tuple
        Requests, sums, and the cycles on ``i``, requests, weights and ``o``.
    """
    asked, sums, logs = [], [], ([], [], [], [])

    async def drive(ctx):
        await send(ctx, dut.i, elements, stall=stall, log=logs[0])

    async def request(ctx):
        await receive(ctx, dut.o_request, len(bursts), asked, stall=stall, seed=3, log=logs[1])

    async def weigh(ctx):
        await fetch(ctx, dut.i_weights, logs[1], bursts, latency, stall=stall, log=logs[2])

    async def check(ctx):
        await receive(ctx, dut.o, count, sums, stall=stall, seed=4, log=logs[3])

    def late(testbench):
        async def run(ctx):
            if start:
                await ctx.tick().repeat(start)
            await testbench(ctx)
        return run

    simulate(dut, load, *map(late, (drive, request, weigh, check)))
    return asked, sums, logs
