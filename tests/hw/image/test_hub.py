# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring

from golden_model.image import hub as golden
from golden_model.image.block_memory import Burst
from golden_model.image_config import BlockMemoryConfig, ImageHubConfig, ImagePortConfig
from hw.image.block_memory import BlockMemory
from hw.image.hub import ImageHub
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

PORT = ImagePortConfig(beat_bits=16, address_bits=8, count_bits=5)
MEMORY = BlockMemoryConfig(port=PORT, depth=200)


class HubWithMemory(Elaboratable):
    """A hub in front of a memory that holds its addresses."""

    def __init__(self, config, build=ImageHub):
        self.hub, self.memory = build(config), BlockMemory(MEMORY)

    def elaborate(self, platform):
        m = Module()
        m.submodules.hub, m.submodules.memory = hub, memory = self.hub, self.memory
        wiring.connect(m, hub.o_request, memory.i_request)
        wiring.connect(m, memory.o, hub.i_beats)
        return m


def requests(clients, each, seed=1):
    rng = np.random.default_rng(seed)
    return [[Burst(int(rng.integers(150)), int(rng.integers(1, 31))) for _ in range(each)]
            for _ in range(clients)]


def run(config, bursts, stall=0.0, build=ImageHub):
    """Beats of each reader, and the cycles of its requests and beats."""
    dut = HubWithMemory(config, build)
    got, asked, took = ([[] for _ in bursts] for _ in range(3))

    async def load(ctx):
        await send(ctx, dut.memory.i_write,
                   [{"address": n, "beat": 7 * n} for n in range(MEMORY.depth)])

    def reader(n):
        async def ask(ctx):
            await ctx.tick().repeat(MEMORY.depth)
            await send(ctx, dut.hub.i_request[n], [one._asdict() for one in bursts[n]],
                       stall=stall, seed=n, log=asked[n])

        async def take(ctx):
            await ctx.tick().repeat(MEMORY.depth)
            await receive(ctx, dut.hub.o[n], sum(one.beats for one in bursts[n]), got[n],
                          stall=stall, seed=10 + n, log=took[n])
        return ask, take
    simulate(dut, load, *(bench for n in range(len(bursts)) for bench in reader(n)))
    return got, asked, took


def answers(bursts):
    return [[7 * (one.address + n) for one in mine for n in range(one.beats)] for mine in bursts]


@pytest.mark.parametrize(("clients", "in_flight"), [(1, 1), (2, 3), (5, 16)])
@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["full_rate", "stalled"])
def test_every_reader_gets_its_beats(clients, in_flight, stall):
    config = ImageHubConfig(port=PORT, clients=clients, in_flight=in_flight)
    bursts = requests(clients, 6)
    assert run(config, bursts, stall)[0] == answers(bursts)


@pytest.mark.parametrize(("clients", "in_flight"), [(1, 1), (3, 2), (4, 8)])
def test_the_first_reader_goes_first(clients, in_flight):
    """Bursts of one beat: the port takes a request each cycle."""
    config = ImageHubConfig(port=PORT, clients=clients, in_flight=in_flight)
    bursts = [[Burst(n, 1)] * (3 + n) for n in range(clients)]
    _, asked, took = run(config, bursts)
    order = sorted((cycle, n) for n, cycles in enumerate(asked) for cycle in cycles)
    drained = sorted(cycle for cycles in took for cycle in cycles)
    offered = [[0] * len(mine) for mine in bursts]
    assert [(n, cycle) for cycle, n in order] == golden.grants(offered, in_flight, drained)


def test_grants_are_pinned():
    assert golden.grants([[0, 0], [0]], 2, [2, 3, 4]) == [(0, 0), (0, 1), (1, 3)]
    assert golden.grants([[4], [0, 1, 2]], 9, [9] * 4) == [(1, 0), (1, 1), (1, 2), (0, 4)]


@pytest.mark.parametrize(("old", "new"), [
    ("asks & ~asking[:n].any()", "asks"),
    ("number == head.beats", "number == head.beats + 1"),
    ("self.i_beats.ready.eq(out.ready)", "self.i_beats.ready.eq(1)"),
    ("turn[client] & queue.w_rdy & self.o_request.ready", "turn[client] & self.o_request.ready"),
])
def test_a_planted_bug_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    config = ImageHubConfig(port=PORT, clients=3, in_flight=2)
    bursts = requests(3, 6)
    try:
        got, *_ = run(config, bursts, 0.4, build=mutant(ImageHub, old, new))
    except AssertionError:
        return   # it hangs
    assert got != answers(bursts)
