# SPDX-License-Identifier: Apache-2.0
import random

import numpy as np
import pytest
from amaranth import *

from golden_model.bus_config import AxiReadConfig
from golden_model.image.axi_port import fetches, memory_content
from golden_model.image_config import ImagePortConfig
from golden_model.system_config import AxiPortConfig
from hw.image.axi_port import AxiPort
from sim.simulator import receive, send, simulate
from tests.mutants import mutant


def configuration(size, bus):
    return AxiPortConfig(port=ImagePortConfig(beat_bits=8 * size, address_bits=9, count_bits=7),
                         axi=AxiReadConfig(data_bits=bus), in_flight=3)


CONFIGS = [configuration(size, bus) for size, bus in (
    (16, 128), (13, 128), (26, 64), (13, 64), (13, 256), (16, 512), (8, 512), (1, 64))]


class Clocked(Elaboratable):
    """A component that may have no registers, in a design that has a clock."""

    def __init__(self, dut):
        self.dut = dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = self.dut
        beat = Signal()
        m.d.sync += beat.eq(~beat)
        return m


def run(config, build=AxiPort, stall=0.3, seed=1):
    rng = random.Random(seed)
    base = 4096 * 3
    image = np.random.default_rng(seed).bytes(config.port.beat_bits // 8 * 300)
    memory = memory_content(config, image)
    size, word = config.port.beat_bits // 8, config.axi.beat_bytes
    bursts = [(rng.randrange(200), rng.choice((1, 1, 2, 3, rng.randrange(1, 100))))
              for _ in range(25)]
    expected = [int.from_bytes(image[size * n:size * n + size], "little")
                for first, count in bursts for n in range(first, first + count)]
    commands = fetches(config, base, bursts)
    dut, got, asked = build(config), [], []

    async def source(ctx):
        ctx.set(dut.base, base)
        await send(ctx, dut.i_request, [{"address": first, "beats": count}
                                        for first, count in bursts], stall=stall)

    async def master(ctx):
        await receive(ctx, dut.o_fetch, len(bursts), asked, stall=stall)

    async def words(ctx):
        for number, command in enumerate(commands):
            while len(asked) <= number:
                await ctx.tick()
            start = command.address // word * word - base
            content = [memory[start + word * n:start + word * n + word].ljust(word, b"\0")
                       for n in range(command.words)]
            await send(ctx, dut.i_word, [{"data": int.from_bytes(each, "little")}
                                         for each in content], stall=stall, seed=number)

    async def sink(ctx):
        await receive(ctx, dut.o, len(expected), got, stall=stall)

    simulate(Clocked(dut), source, master, words, sink)
    assert [(each.address, each.beats) for each in asked] == commands
    assert got == expected


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("config", CONFIGS,
                         ids=lambda config: f"{config.port.beat_bits}-{config.axi.data_bits}")
def test_every_beat_under_stalls(config, stall):
    run(config, stall=stall)


def test_a_beat_as_wide_as_the_bus_lies_as_in_the_file():
    config = CONFIGS[0]
    assert (config.words, config.per_word, config.shift) == (1, 1, 4)
    assert memory_content(config, bytes(range(64))) == bytes(range(64))


@pytest.mark.parametrize(("number", "old", "new"), [
    (2, "self.o.ready | ~last", "1"),
    (2, "held[count].eq", "held[0].eq"),
    (4, "place.eq(head.place + done)", "place.eq(done)"),
    (4, "(last | place.all())", "place.all()")])
def test_a_planted_bug_is_seen(number, old, new):
    with pytest.raises(AssertionError):
        run(CONFIGS[number], mutant(AxiPort, old, new))


def test_config_refuses_a_burst_that_the_bus_cannot_count():
    with pytest.raises(ValueError, match=r"^axi.max_beats must be at least 508 for bursts of"):
        AxiPortConfig(port=ImagePortConfig(beat_bits=208, count_bits=7),
                      axi=AxiReadConfig(data_bits=64, max_beats=500))
