# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.image.loader import load
from golden_model.image_config import BlockMemoryConfig, ImagePortConfig
from golden_model.system_config import ImageLoaderConfig
from hw.image.loader import ImageLoader
from sim.simulator import simulate
from tests.mutants import mutant

CONFIGS = [ImageLoaderConfig(memory=BlockMemoryConfig(port=ImagePortConfig(beat_bits=bits),
                                                      depth=depth))
           for bits, depth in ((104, 9), (32, 1), (8, 5), (208, 6))]


def run(config, build=ImageLoader, seed=1):
    rng = np.random.default_rng(seed)
    writes = []
    for _ in range(40):
        if rng.random() < 0.4:
            writes.append((True, int(rng.choice([0, 1, config.memory.depth - 1,
                                                 config.memory.depth, (1 << 32) - 1]))))
        writes += [(False, int(rng.integers(1 << 32)))
                   for _ in range(int(rng.integers(2 * config.words + 1)))]
    dut, got = build(config), []

    async def bench(ctx):
        for is_address, word in writes:
            port = dut.i_address if is_address else dut.i_data
            ctx.set(port.payload, word)
            ctx.set(port.valid, 1)
            while True:
                ctx.set(dut.open, rng.random() < 0.7)
                *_, ready, valid, beat = await ctx.tick().sample(port.ready, dut.o.valid,
                                                                 dut.o.payload)
                if valid:
                    got.append((beat.address, beat.beat))
                if ready:
                    break
            ctx.set(port.valid, 0)
        *_, valid, beat = await ctx.tick().sample(dut.o.valid, dut.o.payload)
        if valid:
            got.append((beat.address, beat.beat))

    simulate(dut, bench)
    assert got == load(config, writes)
    return got


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: str(config.memory.port.beat_bits))
def test_every_beat(config):
    assert run(config)


@pytest.mark.parametrize(("old", "new"), [
    ("address.eq(self.i_address.payload), word.eq(0)", "address.eq(self.i_address.payload)"),
    ("address.eq(address + 1)", "address.eq(address)"),
    ("self.o.valid.eq(address < config.memory.depth)", "self.o.valid.eq(1)")])
def test_a_planted_bug_is_seen(old, new):
    with pytest.raises(AssertionError):
        runs(mutant(ImageLoader, old, new))


def runs(build):
    for seed in range(3):
        run(CONFIGS[0], build, seed)
