# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.image import block_memory as golden
from golden_model.image.block_memory import Burst
from golden_model.image_config import BlockMemoryConfig, ImagePortConfig
from hw.image.block_memory import BlockMemory
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIGS = [BlockMemoryConfig(port=ImagePortConfig(beat_bits=bits), depth=depth)
           for bits, depth in ((1, 1), (9, 5), (208, 64))]


def bursts_of(config, seed=1):
    rng = np.random.default_rng(seed)
    yield Burst(0, config.depth)
    for _ in range(12):
        address = int(rng.integers(config.depth))
        yield Burst(address, int(rng.integers(1, config.depth - address + 1)))
    yield from [Burst(config.depth - 1, 1)] * 5


def run(config, bursts, stall=0.0, build=BlockMemory):
    """Beats, their cycles and those of the requests, counted from the end of loading."""
    dut, got, taken, cycles = build(config), [], [], []
    words = contents(config)

    async def load(ctx):
        await send(ctx, dut.i_write, [{"address": n, "beat": w} for n, w in enumerate(words)])

    async def ask(ctx):
        await ctx.tick().repeat(config.depth)
        await send(ctx, dut.i_request, [burst._asdict() for burst in bursts], stall=stall,
                   log=taken)

    async def take(ctx):
        await ctx.tick().repeat(config.depth)
        await receive(ctx, dut.o, sum(burst.beats for burst in bursts), got, stall=stall,
                      log=cycles)
    simulate(dut, load, ask, take)
    return got, taken, cycles


def contents(config):
    rng = np.random.default_rng(3)
    return [int.from_bytes(rng.bytes(26), "little") % (1 << config.port.beat_bits)
            for _ in range(config.depth)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    bursts = list(bursts_of(config))
    got, *cycles = run(config, bursts, stall)
    assert got == golden.read(contents(config), bursts)
    assert stall or tuple(cycles) == golden.schedule(config, [0] * len(bursts), bursts)


def test_bursts_follow_without_a_gap():
    assert golden.schedule(CONFIGS[1], [0, 0, 0, 9], [Burst(0, 3), Burst(1, 1), Burst(0, 1),
                                                      Burst(0, 2)]) == (
        [0, 1, 4, 9], [2, 3, 4, 5, 6, 11, 12])


@pytest.mark.parametrize(("old", "new"), [
    ("advance & (left == 1)", "(left == 1)"),
    ("*(read.en.eq(advance) for", "*(read.en.eq(1) for"),
    ("left.eq(left - 1)]", "left.eq(left - 2)]"),
])
def test_a_planted_bug_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    config, bursts = CONFIGS[1], list(bursts_of(CONFIGS[1]))
    try:
        got, *_ = run(config, bursts, 0.5, build=mutant(BlockMemory, old, new))
    except AssertionError:
        return   # a beat changes while it waits, or none comes
    assert got != golden.read(contents(config), bursts)


def test_limits_are_named():
    with pytest.raises(ValueError, match=r"depth must be at most 4 \(port.address_bits = 2\)"):
        BlockMemoryConfig(port=ImagePortConfig(beat_bits=8, address_bits=2), depth=5)
