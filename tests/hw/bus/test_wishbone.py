# SPDX-License-Identifier: Apache-2.0
import random

import pytest
from amaranth.hdl import Signal

from golden_model.bus.wishbone import Inputs
from golden_model.bus.wishbone import Wishbone as Model
from golden_model.bus_config import WishboneConfig
from hw.bus.wishbone import Wishbone
from tests.hw.bus.harness import Backend, check_backend, drive_backend, random_access, simulate
from tests.hw.bus.masters import WishboneMaster

CONFIGS = [WishboneConfig(), WishboneConfig(pipelined=True)]


def run(dut, accesses, *, rates=(1.0, 1.0), give_up=0.0, seed=0, limit=6000):
    """Compare every output in every cycle; returns master, backend and cycles taken."""
    master = WishboneMaster(accesses, seed, rates[0], give_up)
    backend, model = Backend(seed, rates[1]), Model(dut.config)
    bus = dut.wb
    cycles = []

    def drive(ctx):
        master.drive()
        backend.drive()
        master.set(ctx, bus)
        drive_backend(ctx, dut, backend)

    def check(ctx):
        answer = model.answer
        assert ctx.get(bus.ack) == (answer is not None and not answer.error)
        assert ctx.get(bus.err) == (answer is not None and answer.error)
        if answer is not None:
            assert ctx.get(bus.dat_r) == answer.data
        assert ctx.get(bus.stall) == model.stall
        check_backend(ctx, dut, model)

    async def bench(ctx):
        for cycle in range(limit):
            if master.done:
                cycles.append(cycle)
                return
            drive(ctx)
            check(ctx)
            request, waiting = model.request, model.waiting
            inputs = Inputs(master.cyc, master.access, backend.ready, backend.response)
            master.step(model)
            model.step(inputs)
            backend.step(request, waiting)
            await ctx.tick()
        raise AssertionError("an access has no answer")

    simulate(dut, bench)
    return master, backend, cycles[0]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("rates", [(0.2, 0.9), (0.9, 0.2), (0.5, 0.5), (1.0, 1.0)], ids=str)
def test_every_output_in_every_cycle(config, rates):
    rng = random.Random(4)
    accesses = [random_access(rng) for _ in range(150)]
    master, backend, _ = run(Wishbone(config), accesses, rates=rates, seed=5)
    assert [(one.offset, one.write) for one in backend.taken] \
        == [(one.offset, one.write) for one in accesses]
    assert master.answers == backend.given


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_an_access_that_is_given_up_gets_no_answer(config):
    rng = random.Random(8)
    accesses = [random_access(rng) for _ in range(200)]
    master, backend, _ = run(Wishbone(config), accesses, rates=(0.6, 0.4), give_up=0.05, seed=9)
    assert master.given_up > 5
    assert len(master.answers) < len(backend.taken)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_latency(config):
    rng = random.Random(6)
    assert run(Wishbone(config), [random_access(rng)])[2] == 4
    assert run(Wishbone(config), [random_access(rng) for _ in range(10)])[2] \
        == (31 if config.pipelined else 40)


class Slow(Wishbone):
    """Its answer lasts for two cycles."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        before = Signal()
        m.d.sync += before.eq(self.wb.ack)
        with m.If(self.wb.ack & ~before):
            m.d.sync += self.wb.ack.eq(1)
        return m


class Stubborn(Wishbone):
    """Answers even if nobody waits."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.wb.ack.eq(~self.i.p.error)
        return m


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("mutant", [Slow, Stubborn])
def test_a_planted_bug_is_seen(mutant, config):
    rng = random.Random(7)
    with pytest.raises(AssertionError):
        run(mutant(config), [random_access(rng) for _ in range(100)], rates=(0.6, 0.4),
            give_up=0.1)
