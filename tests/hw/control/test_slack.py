# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import data

from golden_model.control.slack import SlackSteps
from hw.control.slack import Slack
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

BEATS = 120


def run(stall, build=Slack):
    """Transfers on both sides, with their cycles."""
    dut, got, logs = build(unsigned(8)), [], ([], [])
    sent = np.random.default_rng(3).integers(0, 256, BEATS).tolist()

    async def source(ctx):
        await send(ctx, dut.i, sent, stall=stall[0], log=logs[0])

    async def sink(ctx):
        await receive(ctx, dut.o, BEATS, got, stall=stall[1], log=logs[1])
    simulate(dut, source, sink)
    return sent, got, logs


def step(offers, readies):
    """Cycles of the transfers on both sides, for cycles in which either side is willing."""
    model, taken, given, offered = SlackSteps(), [], [], False
    for cycle, (offer, ready) in enumerate(zip(offers, readies)):
        offered = offered or offer
        if offered and model.ready:
            taken.append(cycle)
        if model.valid(offered) and ready:
            given.append(cycle)
        accepted = offered and model.ready
        model.tick(offered, ready)
        offered = offered and not accepted
    return taken, given


@pytest.mark.parametrize("stall", [(0, 0), (0, 0.5), (0.5, 0), (0.3, 0.3), (0.1, 0.8)], ids=str)
def test_everything_passes_in_order(stall):
    sent, got, (taken, given) = run(stall)
    assert got == sent
    assert all(out - came >= 0 for came, out in zip(taken, given))
    # One transfer may wait, and no more.
    assert all(after >= out for out, after in zip(given, taken[2:]))
    if not stall[1]:
        assert given == taken
    if stall == (0, 0):
        assert taken == list(range(BEATS))


@pytest.mark.parametrize("seed", range(3))
def test_transfers_come_in_the_models_cycles(seed):
    rng, dut, logs = np.random.default_rng(seed), Slack(unsigned(8)), ([], [])
    offers, readies = (rng.random(200) < share for share in (0.6, 0.5))

    async def both(ctx):
        offered, value = False, 0
        for cycle, (offer, ready) in enumerate(zip(offers, readies)):
            offered = offered or bool(offer)
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, value)
            ctx.set(dut.o.ready, bool(ready))
            *_, into, valid, payload = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload)
            if valid and ready:
                assert payload == len(logs[1]) % 256
                logs[1].append(cycle)
            if offered and into:
                logs[0].append(cycle)
                offered, value = False, (value + 1) % 256
    simulate(dut, both)
    assert logs == step(offers.tolist(), readies.tolist())


def test_ready_does_not_depend_on_the_reader():
    dut = Slack(data.StructLayout({"a": 3, "b": 5}))

    async def bench(ctx):
        ctx.set(dut.i.valid, 1)
        for ready in (0, 1, 0):
            ctx.set(dut.o.ready, ready)
            assert ctx.get(dut.i.ready)
        await ctx.tick()
        for ready in (1, 0):
            ctx.set(dut.o.ready, ready)
            assert not ctx.get(dut.i.ready)
    simulate(dut, bench)


@pytest.mark.parametrize(("old", "new"), [
    ("waiting.eq(self.o.valid & ~self.o.ready)", "waiting.eq(self.i.valid & ~self.o.ready)"),
    ("with m.If(~waiting):", "with m.If(self.i.valid):"),
    ("Mux(waiting, held, self.i.payload)", "self.i.payload"),
])
def test_planted_bugs_are_seen(old, new):
    try:
        sent, got, _ = run((0.3, 0.5), mutant(Slack, old, new))
    except AssertionError:
        return
    assert got != sent
