# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.head.sampler import draw
from golden_model.sampler_config import SamplerConfig
from golden_model.sampling import ZERO_SEED, TemperatureSampler, xorshift32
from hw.head import sampler
from hw.head.sampler import Sampler
from sim.packing import small
from sim.simulator import Device, receive, send, simulate
from tests.hw.head.draws import (
    UNIT,
    Draw,
    SamplerWithUnit,
    corners,
    cycles,
    random_draws,
    sharp,
    tokens,
)
from tests.mutants import mutant

CONFIGS = [SamplerConfig(max_vocab=64), SamplerConfig(logit_bits=9, max_vocab=37),
           SamplerConfig(logit_bits=2, max_vocab=2, rows_per_stage=9, form="dsp")]


def run(dut, draws, *, seed=1, stall=0.0):
    """Return (token, state after it) of every draw, and the cycles of its transfers."""
    scales, logits = [], []

    async def settings(ctx):
        # A draw's settings follow its predecessor's scale, its seed its own.
        first = seed
        for number, one in enumerate(draws):
            ctx.set(dut.sampling, one.sampling)
            ctx.set(dut.load_seed, int(first is not None))
            ctx.set(dut.seed, first or 0)
            while len(scales) == number:
                await ctx.tick()
                ctx.set(dut.load_seed, 0)
            first = one.seed
            if first is not None:
                ctx.set(dut.seed, first)
                ctx.set(dut.load_seed, 1)
                await ctx.tick()
                ctx.set(dut.load_seed, 0)
                first = None

    async def scale(ctx):
        await send(ctx, dut.i_scale, [small(one.scale) for one in draws], stall=stall,
                   log=scales, seed=seed + 1)

    async def source(ctx):
        await send(ctx, dut.i, [beat for one in draws for beat in one.beats], stall=stall,
                   log=logits, seed=seed + 2)

    got, when = [], []

    async def sink(ctx):
        for number in range(len(draws)):
            offset = when[-1] + 1 if when else 0
            log = []
            await receive(ctx, dut.o, 1, taken := [], stall=stall, seed=seed + number, log=log)
            when.append(offset + log[0])
            got.append((taken[0].token, ctx.get(dut.random_state)))

    simulate(dut, settings, scale, source, sink)
    ends = np.cumsum([len(one.logits) for one in draws]).tolist()
    starts = [end - len(one.logits) for end, one in zip(ends, draws)]
    return got, list(zip(scales, (logits[n] for n in starts), when))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.logit_bits}_bits")
@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    draws = [*corners(config), *random_draws(config, 12, 3)]
    got, when = run(SamplerWithUnit(config), draws, seed=12345, stall=stall)
    assert got == tokens(draws, 12345)
    assert stall or when == cycles(config, draws, 12345)


def test_the_twin_draws_what_the_decoder_draws():
    rng = np.random.default_rng(4)
    for seed in (0, 1, 0xFFFFFFFF):
        whole, state = TemperatureSampler(0.7, seed), seed or ZERO_SEED
        for _ in range(40):
            logits, scale = rng.integers(-900, 900, 60), smallfloat.from_float(rng.uniform(0, 0.01))
            token, state = draw(logits, scale, whole.unit, state)
            assert (token, state) == (whole(logits, scale), whole.state)


def test_a_seed_of_zero_is_replaced():
    draws = list(random_draws(CONFIGS[0], 4, 8))
    got, _ = run(SamplerWithUnit(CONFIGS[0]), draws, seed=0)
    assert got == tokens(draws, ZERO_SEED)
    assert sampler.ZERO_SEED == ZERO_SEED


def test_the_state_survives_a_reset_and_resumes():
    config, draws = CONFIGS[0], [one for one in random_draws(CONFIGS[0], 12, 5) if one.unit]
    device = Device(SamplerWithUnit(config))
    whole, _ = run(device, draws, seed=77)
    resumed, _ = run(device, draws[3:], seed=whole[2][1])
    assert resumed == whole[3:]


def test_cycles_are_pinned():
    config = SamplerConfig()
    assert (config.greedy_latency, config.factor_latency(UNIT), config.drawing_latency) == (
        1, 25, 53)
    one = Draw(np.array([5, 9]), 1.0, 1.0)
    assert cycles(config, [one._replace(unit=None), one], 1)[0] == (0, 1, 3)


def test_the_generator_is_marsagliass():
    # The published sequence of 13, 17, 5 from 2463534242.
    state = 2463534242
    for following in (723471715, 2497366906, 2064144800, 2008045182):
        assert (state := xorshift32(state)) == following


PLANTED = [
    ("", ""),  # none: these draws pass
    ("(index == 0) | (z > largest)", "z > largest"),
    ("scores.r_data.as_signed()", "scores.r_data"),
    ("summed > threshold", "summed >= threshold"),
    ("bit.eq(bit + 1), index.eq(0)", "bit.eq(bit + 1), index.eq(1)"),
    ("[index.eq(index + 1), bit.eq(0), threshold.eq(0)]",
     "[index.eq(index + 1), bit.eq(1), threshold.eq(0)]"),
    ("(13, -17, 5)", "(13, -17, 6)"),
    ("nearest(octaves, WEIGHT_BITS)", "octaves.window"),
    ("Mux(far, 0, nearest", "Mux(0, 0, nearest"),
    ("total.eq(0), number.eq(0)]", "number.eq(0)]"),
    ("walk & ~flush", "walk"),
    ("init=TABLE", "init=[word + (n == 255) for n, word in enumerate(TABLE)]"),
]


@pytest.mark.parametrize(("old", "new"), PLANTED)
def test_a_planted_bug_is_noticed(old, new):
    config = CONFIGS[0]
    changed = mutant(Sampler, old, new) if old else Sampler
    steps = np.array([5, -256, -250, -255, -3836, -3840, -4090, -4096])
    draws = [Draw(steps + 9, 1.0, 1.0), *sharp(Draw(steps, 1.0, 1.0), [0, 1, 3, 5, 6])]
    try:
        found = run(SamplerWithUnit(config, changed), draws, seed=5)
    except AssertionError:
        return  # it hangs
    assert (found == (tokens(draws, 5), cycles(config, draws, 5))) == (not old)


def test_limits_are_named():
    with pytest.raises(ValueError, match="in_bits must be at most 37"):
        SamplerConfig(logit_bits=38)
    with pytest.raises(ValueError, match="max_vocab must be at most"):
        SamplerConfig(max_vocab=1 << 25)
