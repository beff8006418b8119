# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from sim import simulator
from sim.simulator import (
    Device,
    Recorder,
    beats,
    fetch,
    lane_mask,
    receive,
    run_cycles,
    send,
    simulate,
    source,
)


class Stage(wiring.Component):
    """One register; `fault` breaks a rule of streams."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def __init__(self, fault=""):
        super().__init__()
        self.fault = fault

    def elaborate(self, platform):
        m = Module()
        advance = C(1, 1) if self.fault == "overwrites" else ~self.o.valid | self.o.ready
        m.d.comb += self.i.ready.eq(advance & (self.fault != "deaf"))
        with m.If(advance):
            m.d.sync += [self.o.payload.eq(self.i.payload),
                         self.o.valid.eq(self.i.valid & (self.fault != "mute"))]
        return m


class Counter(wiring.Component):
    """Counts its transfers in a register and in a memory, both of which a reset clears."""

    o: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()
        m.submodules.cells = cells = Memory(shape=8, depth=1, init=[3])
        read, write = cells.read_port(domain="comb"), cells.write_port()
        m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(read.data),
                     write.data.eq(read.data + 1), write.en.eq(self.o.ready)]
        return m


def through(dut, payloads, stall=0.0):
    taken, sink = [], Recorder(dut.o, len(payloads), stall=stall)
    simulate(dut, source(dut.i, payloads, stall=stall, cycles=taken), sink.run)
    return sink.payloads, taken, sink.cycles


def test_every_transfer_has_its_cycle():
    assert through(Stage(), [7, 8, 9]) == ([7, 8, 9], [0, 1, 2], [1, 2, 3])


def test_stalls_keep_values_and_reach_both_sides():
    payloads = list(range(200))
    got, taken, cycles = through(Stage(), payloads, stall=0.5)
    assert got == payloads
    assert 300 < taken[-1] < cycles[-1] < 900


@pytest.mark.parametrize(("fault", "message"), [
    ("overwrites", "changed before"), ("deaf", "never taken"), ("mute", "0 of 30 payloads")])
def test_broken_rules_are_noticed(monkeypatch, fault, message):
    monkeypatch.setattr(simulator, "PATIENCE", 100)
    with pytest.raises(AssertionError, match=message):
        through(Stage(fault), list(range(30)), stall=0.5)


def test_a_device_starts_every_run_from_reset():
    device = Device(Counter())

    async def count(ctx, got, log):
        await receive(ctx, device.o, 3, got, log=log)

    for _ in range(2):
        got, log = [], []
        simulate(device, lambda ctx, got=got, log=log: count(ctx, got, log))
        assert (got, log) == ([3, 4, 5], [0, 1, 2])


def test_a_device_goes_on_after_a_failure_and_takes_more_testbenches():
    device = Device(Stage())

    async def fail(ctx):
        await ctx.tick().repeat(2)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        device.run(fail)
    sink, taken = Recorder(device.o, 2), []
    device.run(source(device.i, [1, 2], cycles=taken), sink.run)
    assert (sink.payloads, sink.cycles, taken) == ([1, 2], [1, 2], [0, 1])
    device.run()


@pytest.mark.parametrize("latency", [1, 6])
def test_a_memory_answers_in_order_and_after_its_latency(latency):
    dut, requested, log = Stage(), [], []
    bursts, sink = [[1, 2], [3], [4, 5, 6]], Recorder(dut.o, 6)

    async def request(ctx):
        for cycle in (0, 1, 20):
            requested.append(cycle)
            await ctx.tick().repeat(19 if cycle == 1 else 1)

    async def answer(ctx):
        await fetch(ctx, dut.i, requested, bursts, latency, log=log)

    simulate(dut, request, answer, sink.run)
    assert sink.payloads == [1, 2, 3, 4, 5, 6]
    assert log == [latency, latency + 1, latency + 2, 20 + latency, 21 + latency, 22 + latency]


def test_a_request_that_never_comes_is_noticed(monkeypatch):
    monkeypatch.setattr(simulator, "PATIENCE", 50)
    dut = Stage()
    with pytest.raises(AssertionError, match="a request is missing"):
        simulate(dut, lambda ctx: fetch(ctx, dut.i, [], [[1]], 3))


def test_run_cycles_shows_every_handshake():
    seen = []
    taken = run_cycles(Stage(), {"i": [4, 5]}, {"o": 2}, check=seen.append)
    assert taken == {"o": [(1, 4), (2, 5)]}
    assert seen[:3] == [{"i": (1, 1), "o": (0, 1)}, {"i": (1, 1), "o": (1, 1)},
                        {"i": (0, 1), "o": (1, 1)}]


def test_run_cycles_repeats_with_its_seed():
    one, other, third = (run_cycles(Stage(), {"i": list(range(30))}, {"o": 30}, stall=0.5,
                                    rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == other != third


def test_lanes_past_the_end_are_noise_and_unmarked():
    assert beats(np.array([1, 2, 3]), 2) == [[1, 2], [3, -77]]
    assert lane_mask([1, 0, 1], 2) == [1, 1]


def test_send_without_payloads_leaves_the_stream_alone():
    dut = Stage()

    async def nothing(ctx):
        await send(ctx, dut.i, [])
        assert not ctx.get(dut.i.valid)

    simulate(dut, nothing)
