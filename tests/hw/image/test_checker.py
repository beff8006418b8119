# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring

from golden_model.image.checker import check, check_cycles
from golden_model.image_config import BlockMemoryConfig, ImagePortConfig
from golden_model.program import Instruction
from golden_model.system_config import ImageCheckConfig
from host.compile.image import make_image
from hw.image.block_memory import BlockMemory
from hw.image.checker import ImageCheck
from sim.simulator import send, simulate
from tests.mutants import mutant

HASH = "0123456789abcdef"
FACTS = {"vocab": 512, "context": 255, "slots": 3, "streams": 12, "words": 2, "window": 16,
         "state_words": 777, "head_instructions": 3}


def configuration(size, **change):
    return ImageCheckConfig(**{"port": ImagePortConfig(beat_bits=8 * size, address_bits=8,
                                                       count_bits=8),
                               "config_hash": HASH, "depth": 200, **change})


CONFIGS = [configuration(size, **change) for size, change in (
    (13, {}), (16, {}), (26, {"burst": 5}), (64, {}), (8, {"step": 8, "burst": 1}))]


def image(config, seed=1, **change):
    """Beats of an image, with changed fields of the header if asked for."""
    data = np.random.default_rng(seed).integers(0, 256, (19, config.beat_bytes)).astype(np.uint8)
    made = make_image(config.beat_bytes, change.pop("hash", HASH), "f" * 16,
                      [Instruction("end")] * 2, data, {**FACTS, **change})
    return [int.from_bytes(beat.tobytes(), "little") for beat in made.beats]


class WithMemory(Elaboratable):
    def __init__(self, config, build=ImageCheck):
        self.check = build(config)
        self.memory = BlockMemory(BlockMemoryConfig(port=config.port, depth=config.depth))
        self.stall = Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.check, m.submodules.memory = one, other = self.check, self.memory
        wiring.connect(m, one.o_request, other.i_request)
        m.d.comb += [one.i_beats.payload.eq(other.o.payload),
                     one.i_beats.valid.eq(other.o.valid & ~self.stall),
                     other.o.ready.eq(one.i_beats.ready & ~self.stall)]
        return m


def run(config, images, stall=0.0, build=ImageCheck):
    """Check images one after the other; returns the verdicts."""
    dut = WithMemory(config, build)
    rng = np.random.default_rng(3)
    verdicts = []

    async def bench(ctx):
        for beats in images:
            expected = check(config, beats)
            await send(ctx, dut.memory.i_write,
                       [{"address": n, "beat": beat} for n, beat in enumerate(beats)])
            ctx.set(dut.check.go, 1)
            cycle, done = -1, 0
            while not done:
                ctx.set(dut.stall, rng.random() < stall)
                *_, done = await ctx.tick().sample(dut.check.done)
                ctx.set(dut.check.go, 0)
                cycle += 1
                assert cycle < 5000
            if not stall:
                assert cycle == check_cycles(config, expected, 2)
            assert ctx.get(dut.check.valid) == expected.valid
            header = ctx.get(dut.check.header)
            assert {name: header[name] for name in expected.header} == expected.header
            verdicts.append(expected.valid)

    simulate(dut, bench)
    return verdicts


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: str(config.beat_bytes))
def test_sound_and_unsound_images(config, stall):
    beats = image(config)
    flipped = [beats.copy() for _ in range(3)]
    flipped[0][-1] ^= 1 << 8 * config.beat_bytes - 1
    flipped[1][0] ^= 1 << 3
    flipped[2][config.header_beats] ^= 1
    short = image(config, 2)
    short[0] ^= 1 << 70 if config.beat_bytes > 8 else 0
    assert run(config, [beats, *flipped, image(config, 4, hash="f" * 16), image(config, 5), short],
               stall)[:6] == [True, False, False, False, False, True]


def test_an_image_longer_than_the_memory_is_refused():
    config = configuration(16)
    beats = image(config)
    small = configuration(16, depth=len(beats) - 1)
    assert not check(small, beats).walked
    assert run(configuration(16, depth=len(beats)), [beats]) == [True]


@pytest.mark.parametrize("bit", range(0, 8 * 13 * 3, 7))
def test_a_flipped_bit_of_the_header_is_noticed(bit):
    config = CONFIGS[0]
    beats = image(config)
    beats[bit // 104] ^= 1 << bit % 104
    # The CRC leaves out nothing but itself, and the magic number is compared.
    assert not check(config, beats).valid


def test_a_soft_reset_drops_a_check():
    config = CONFIGS[1]
    dut = WithMemory(config)

    async def bench(ctx):
        await send(ctx, dut.memory.i_write,
                   [{"address": n, "beat": beat} for n, beat in enumerate(image(config))])
        ctx.set(dut.check.go, 1)
        await ctx.tick()
        ctx.set(dut.check.go, 0)
        await ctx.tick().repeat(20)
        assert ctx.get(dut.check.busy)
        ctx.set(dut.check.stop, 1)
        await ctx.tick()
        ctx.set(dut.check.stop, 0)
        assert not ctx.get(dut.check.busy)
        assert not ctx.get(dut.check.valid)

    simulate(dut, bench)


@pytest.mark.parametrize(("old", "new"), [
    ("& (header.config_hash == int(config.config_hash, 16))", ""),
    ("fresh & (number < blank)", "(number < blank)"),
    ("passed.eq(~state == header.crc)", "passed.eq(1)"),
    ("fresh.eq(1), ", ""),
    ("step(state, part[:8 * rest])", "step(state, part)"),
    ("self.forget | self.go", "self.forget")])
def test_a_planted_bug_is_seen(old, new):
    config = CONFIGS[0]
    beats, wrong = image(config), image(config)
    wrong[-1] ^= 1
    with pytest.raises((AssertionError, ValueError)):
        both(config, [beats, wrong, image(config, hash="f" * 16)], mutant(ImageCheck, old, new))


def both(config, images, build):
    run(config, images, build=build)
    goes(config, build)


def goes(config, build):
    """Look that a check under way says nothing of the image before."""
    dut = WithMemory(config, build)

    async def bench(ctx):
        await send(ctx, dut.memory.i_write,
                   [{"address": n, "beat": beat} for n, beat in enumerate(image(config))])
        for _ in range(2):
            ctx.set(dut.check.go, 1)
            await ctx.tick()
            ctx.set(dut.check.go, 0)
            await ctx.tick()
            assert not ctx.get(dut.check.valid)
            await ctx.tick().until(dut.check.done)

    simulate(dut, bench)


@pytest.mark.parametrize(("change", "message"), [
    ({"config_hash": "x"}, "config_hash must be 16 hexadecimal digits, not 'x'"),
    ({"step": 5}, "step must be one of 4, 8, not 5"),
    ({"burst": 256}, "burst must be below 256, not 256"),
    ({"port": ImagePortConfig(beat_bits=56)},
     "port.beat_bits must be a multiple of 8, at least 64, not 56")])
def test_config_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        configuration(16, **change)
