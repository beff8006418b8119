# SPDX-License-Identifier: Apache-2.0
"""Logits to choose from, as the sampler's ports take them, and the sampler with its own unit."""

import math
from typing import NamedTuple

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model import smallfloat
from golden_model.attention.softmax import exp2_weights
from golden_model.head.sampler import draw, first_logit, token_cycle
from golden_model.quant_config import SmallFloatUnitConfig
from golden_model.sampler_config import SamplerConfig
from hw.head import sampler
from hw.quant.small_float_unit import SmallFloatUnit
from sim.packing import small

__all__ = ["UNIT", "Draw", "SamplerWithUnit", "corners", "cycles", "random_draws", "sharp",
           "tokens"]

UNIT = SmallFloatUnitConfig()
PASSED_ON = ("sampling", "load_seed", "seed")


class SamplerWithUnit(wiring.Component):
    """The ports of a sampler whose small-float unit serves nothing else."""

    def __init__(self, config: SamplerConfig, build=None):
        self.config = config
        self.inner = inner = (build or sampler.Sampler)(config)
        super().__init__({
            **{name: In(getattr(inner, name).shape()) for name in PASSED_ON},
            **{name: In(getattr(inner, name).signature.flip()) for name in ("i_scale", "i")},
            "o": Out(inner.o.signature), "random_state": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.sampler = inner = self.inner
        m.submodules.unit = unit = SmallFloatUnit(UNIT)
        wiring.connect(m, inner.o_request, unit.i)
        wiring.connect(m, unit.o, inner.i_response)
        for name in ("i_scale", "i"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(inner, name))
        wiring.connect(m, inner.o, wiring.flipped(self.o))
        m.d.comb += [getattr(inner, name).eq(getattr(self, name)) for name in PASSED_ON]
        m.d.comb += self.random_state.eq(inner.random_state)
        return m


class Draw(NamedTuple):
    """What one token is chosen from."""

    logits: np.ndarray
    scale: float = 1.0
    unit: float | None = None
    """Sampling constant; without it the largest logit is chosen."""
    seed: int | None = None
    """Loaded ahead of the draw."""

    @property
    def sampling(self):
        """Fields of the port."""
        return {"unit": small(0.0 if self.unit is None else self.unit),
                "enable": int(self.unit is not None)}

    @property
    def beats(self):
        """Payloads of the logits."""
        return [{"logit": value, "last": int(n == len(self.logits) - 1)}
                for n, value in enumerate(self.logits.tolist())]


def constant(temperature):
    """Return the sampling constant of a temperature."""
    return float(smallfloat.from_float(math.log2(math.e) * 256 / temperature))


def before(state):
    """Return the state that the generator leaves for `state`."""
    for by in (5, -17, 13):
        found = state
        for _ in range(32):
            found = state ^ (found << by & 0xFFFFFFFF if by > 0 else found >> -by)
        state = found
    return state


def sharp(one, places):
    """Yield `one` with seeds whose thresholds lie right below and at the running sum of a place.

    A weight, sum or product that is off by one changes one of those tokens.
    """
    scores = smallfloat.scale_int(one.logits, smallfloat.mul(np.float64(one.scale),
                                                             np.float64(one.unit)))
    running = np.cumsum(exp2_weights(scores.max() - scores)).tolist()
    for place in places:
        for threshold in (running[place] - 1, running[place]):
            if 0 < threshold < running[-1]:
                yield one._replace(seed=before(-(-(threshold << 32) // running[-1])))


def corners(config):
    """Yield draws at the ends of every range, and some without sampling between them."""
    most = (1 << config.logit_bits - 1) - 1
    short = min(config.max_vocab, 13)
    one, largest = 1.0, float(smallfloat.LARGEST)
    for unit in (None, one):
        yield Draw(np.array([-most - 1]), one, unit)
        yield Draw(np.full(short, -most - 1), one, unit)
        yield Draw(np.r_[-most - 1, np.full(short - 1, most)], one, unit)
    ramp = np.arange(short) % (most + 1)
    yield from sharp(Draw(-ramp, 0.0, one), [0, -2])   # a scale of zero: all weigh the same
    yield from sharp(Draw(np.zeros(config.max_vocab, int), one, one), [config.max_vocab - 2])
    yield Draw(ramp, one, 0.0, 0xFFFFFFFF)
    yield Draw(ramp - 1, largest, largest)             # the ends of a word
    yield Draw(ramp, float(smallfloat.SMALLEST), one)
    # Distances at which the table's octaves begin, and around the last weight that is not zero.
    steps = np.array([0, 255, 256, 257, 511, 512, 3839, 3840, 3841, 4094, 4095, 4096, 5000])
    steps = steps[steps <= most][-short:]
    for row in (-steps, -steps[::-1]):
        yield from sharp(Draw(row, one, one), range(len(row) - 1))
    yield Draw(np.r_[np.full(short - 1, -most), 0], one, one)
    yield Draw(np.r_[0, np.full(short - 1, -most)], one, one)


def random_draws(config, count, seed):
    """Yield draws of random size, spread and temperature; a quarter is greedy."""
    rng = np.random.default_rng(seed)
    most = (1 << config.logit_bits - 1) - 1
    for _ in range(count):
        n = int(rng.integers(1, min(config.max_vocab, 30) + 1))
        spread = min(most, int(2 ** rng.uniform(1, config.logit_bits - 1)))
        scale = float(smallfloat.from_float(2.0 ** rng.uniform(-3, 3) / spread))
        unit = None if rng.random() < 0.25 else constant(2.0 ** rng.uniform(-4, 3))
        yield Draw(rng.integers(-spread, spread + 1, n), scale, unit)


def tokens(draws, state):
    """Tokens, and the state after each."""
    chosen = []
    for one in draws:
        unit = None if one.unit is None else np.float64(one.unit)
        state = state if one.seed is None else one.seed
        token, state = draw(one.logits, np.float64(one.scale), unit, state)
        chosen.append((token, state))
    return chosen


def cycles(config, draws, state):
    """Cycle of every scale's, first logit's and token's transfer, if nobody stalls."""
    now, found = 0, []
    for one, (token, _) in zip(draws, tokens(draws, state), strict=True):
        n, sampling = len(one.logits), one.unit is not None
        first = first_logit(config, UNIT, now, sampling)
        found.append((now, first, token_cycle(config, first + n - 1, n, token, sampling)))
        now = found[-1][-1] + 1
    return found
