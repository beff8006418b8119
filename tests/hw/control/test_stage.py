# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import *

from golden_model.control.stage import StageSteps
from hw.control.stage import Stage
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

BEATS = 120


def run(stall, build=Stage):
    """Transfers on both sides, with their cycles."""
    dut, got, logs = build(unsigned(8)), [], ([], [])
    sent = np.random.default_rng(4).integers(0, 256, BEATS).tolist()

    async def source(ctx):
        await send(ctx, dut.i, sent, stall=stall[0], log=logs[0])

    async def sink(ctx):
        await receive(ctx, dut.o, BEATS, got, stall=stall[1], log=logs[1])
    simulate(dut, source, sink)
    return sent, got, logs


@pytest.mark.parametrize("stall", [(0, 0), (0, 0.5), (0.5, 0), (0.3, 0.3), (0.1, 0.8)], ids=str)
def test_everything_passes_in_order(stall):
    sent, got, (taken, given) = run(stall)
    assert got == sent
    assert all(out > came for came, out in zip(taken, given))
    if not stall[1]:
        assert given == [cycle + 1 for cycle in taken]
    if stall == (0, 0):
        assert taken == list(range(BEATS))


@pytest.mark.parametrize("seed", range(3))
def test_handshakes_are_the_models(seed):
    rng, dut, model = np.random.default_rng(seed), Stage(unsigned(8)), StageSteps()
    offers, readies = (rng.random(200) < share for share in (0.6, 0.5))

    async def both(ctx):
        for offer, ready in zip(offers.tolist(), readies.tolist()):
            ctx.set(dut.i.valid, offer)
            ctx.set(dut.o.ready, ready)
            *_, into, valid = await ctx.tick().sample(dut.i.ready, dut.o.valid)
            assert (into, valid) == (model.ready(ready), model.valid)
            model.tick(offer, ready)
    simulate(dut, both)


@pytest.mark.parametrize(("old", "new"), [
    ("~self.o.valid | self.o.ready", "C(1, 1)"), ("~self.o.valid | self.o.ready", "self.o.ready"),
    ("with m.If(self.i.ready):", "with m.If(self.i.valid):")])
def test_planted_bugs_are_seen(old, new):
    try:
        sent, got, (taken, given) = run((0.3, 0.5), mutant(Stage, old, new))
    except AssertionError:
        return
    assert got != sent or any(after > out for out, after in zip(given, taken[1:]))
