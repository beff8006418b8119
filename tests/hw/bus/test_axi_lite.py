# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from golden_model.bus.axi_lite import AxiLite as Model
from golden_model.bus.axi_lite import Inputs
from golden_model.bus_config import ControlSlaveConfig
from hw.bus.axi_lite import AxiLite
from tests.hw.bus.harness import Backend, check_backend, drive_backend, random_access, simulate
from tests.hw.bus.masters import CHANNELS, AxiLiteMaster

CONFIG = ControlSlaveConfig()
def run(dut, accesses, *, rates=(1.0, 1.0), seed=0, limit=6000):
    """Compare every output in every cycle; returns master, backend and cycles taken."""
    master, backend = AxiLiteMaster(accesses, seed, rates[0]), Backend(seed, rates[1])
    model = Model()
    bus = dut.s_axi
    cycles = []

    def drive(ctx):
        master.drive()
        backend.drive()
        master.set(ctx, bus)
        drive_backend(ctx, dut, backend)

    def check(ctx):
        for name in CHANNELS:
            assert ctx.get(getattr(bus, f"{name}ready")) == (getattr(model, name) is None)
        assert ctx.get(bus.bvalid) == (model.b is not None)
        assert ctx.get(bus.rvalid) == (model.r is not None)
        if model.b is not None:
            assert ctx.get(bus.bresp) == model.b
        if model.r is not None:
            assert (ctx.get(bus.rdata), ctx.get(bus.rresp)) == model.r
        check_backend(ctx, dut, model)

    async def bench(ctx):
        for cycle in range(limit):
            if sum(map(len, master.answers.values())) == len(accesses):
                cycles.append(cycle)
                return
            drive(ctx)
            check(ctx)
            request, waiting = model.request, model.waiting
            inputs = Inputs(**master.offers, b_ready=master.ready["b"],
                            r_ready=master.ready["r"], request_ready=backend.ready,
                            response=backend.response)
            master.step(model)
            model.step(inputs)
            backend.step(request, waiting)
            await ctx.tick()
        raise AssertionError("an access has no response")

    simulate(dut, bench)
    return master, backend, cycles[0]


@pytest.mark.parametrize("rates", [(0.2, 0.9), (0.9, 0.2), (0.5, 0.5), (1.0, 1.0)], ids=str)
def test_every_output_in_every_cycle(rates):
    rng = random.Random(4)
    accesses = [random_access(rng) for _ in range(150)]
    master, backend, _ = run(AxiLite(CONFIG), accesses, rates=rates, seed=5)
    # Reads among themselves and writes among themselves keep their order.
    for write in (False, True):
        assert [one for one in backend.taken if one.write == write] \
            == [one for one in accesses if one.write == write]
    answers = zip(backend.taken, backend.given)
    wanted = {"b": [], "r": []}
    for access, response in answers:
        code = 2 if response.error else 0
        wanted["b" if access.write else "r"].append(
            code if access.write else (response.data, code))
    assert master.answers == wanted


def test_latency_and_turns():
    rng = random.Random(6)
    reads = [one for one in (random_access(rng) for _ in range(40)) if not one.write]
    # Address, choice, request, answer (this backend takes a cycle), response.
    assert run(AxiLite(CONFIG), reads[:1])[2] == 5
    mixed = [random_access(rng) for _ in range(60)]
    _, backend, _ = run(AxiLite(CONFIG), mixed)
    first = [one.write for one in backend.taken[:20]]
    # Reads and writes that both wait take turns.
    assert first == [not first[0] if n % 2 else first[0] for n in range(20)]


class Impatient(AxiLite):
    """Its response lasts for one cycle, taken or not."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        bus = self.s_axi
        with m.If(bus.rvalid):
            m.d.sync += bus.rvalid.eq(0)
        return m


class Deaf(AxiLite):
    """Reports every access as done."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [self.s_axi.rresp.eq(0), self.s_axi.bresp.eq(0)]
        return m


@pytest.mark.parametrize("mutant", [Impatient, Deaf])
def test_a_planted_bug_is_seen(mutant):
    rng = random.Random(7)
    with pytest.raises(AssertionError):
        run(mutant(CONFIG), [random_access(rng) for _ in range(60)], rates=(0.4, 0.6))


@pytest.mark.parametrize("bits", [2, 33])
def test_config_refuses(bits):
    with pytest.raises(ValueError, match=f"^address_bits must lie in 3..32, not {bits}$"):
        ControlSlaveConfig(address_bits=bits)
