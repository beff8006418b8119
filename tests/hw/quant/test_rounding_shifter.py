# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import C

from golden_model.quant.rounding_shifter import Shifted, shift_right
from golden_model.quant_config import RoundingShifterConfig
from hw.quant.rounding_shifter import RoundingShifter
from sim.simulator import simulate

CONFIGS = [
    RoundingShifterConfig(value_bits=52, window_bits=24, fraction_bits=-8),
    RoundingShifterConfig(value_bits=51, window_bits=8, fraction_bits=8, signed=False),
    RoundingShifterConfig(value_bits=40, window_bits=16),
    RoundingShifterConfig(value_bits=5, window_bits=3, fraction_bits=1),
    RoundingShifterConfig(value_bits=2, window_bits=4, fraction_bits=-1, signed=False),
]


def shift(dut, cases):
    got = []

    async def testbench(ctx):
        ctx.set(dut.advance, 1)
        for value, places in cases:
            ctx.set(dut.value, value)
            ctx.set(dut.places, places)
            await ctx.tick().repeat(dut.config.latency)
            got.append(Shifted(*map(ctx.get, (dut.window, dut.half, dut.sticky, dut.over))))
            assert places >= 64 or ctx.get(dut.negative) == (value < 0)

    simulate(dut, testbench)
    return got


def cases(config):
    rng = np.random.default_rng(1)
    low, high = ((-(1 << config.value_bits - 1), (1 << config.value_bits - 1) - 1) if config.signed
                 else (0, (1 << config.value_bits) - 1))
    values = [low, high, 0, 1, min(3, high), high // 2, high // 2 + 1, low // 2,
              *(int(rng.integers(low, high, endpoint=True)) >> int(rng.integers(config.value_bits))
                for _ in range(24))]
    return [(value, places) for value in values
            for places in [0, 1, 15, 16, 17, 47, 63, 64, 127, *rng.integers(64, size=6).tolist()]]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_matches_golden_model(config):
    tried = cases(config)
    for case, got in zip(tried, shift(RoundingShifter(config), tried), strict=True):
        expected = shift_right(config, *case)
        # What was dropped from 64 places on is below every half.
        assert got[:2] + got[3:] == expected[:2] + expected[3:], case
        assert case[1] >= 64 or got.sticky == expected.sticky, case


def test_golden_model_on_literals():
    config = RoundingShifterConfig(value_bits=8, window_bits=4, fraction_bits=1)
    assert shift_right(config, 0b0110110, 2) == Shifted(6, 1, 1, 0)
    assert shift_right(config, -3, 0) == Shifted(-2, 1, 0, 0)
    assert shift_right(config, 0b0110110, 0) == Shifted(-5, 0, 0, 1)
    assert shift_right(config, 127, 64) == Shifted(0, 0, 0, 0)


def test_a_lost_sticky_bit_is_noticed():
    class Forgetful(RoundingShifter):
        def step(self, bits, base, select, unit, spare, sign):
            kept, _, above = super().step(bits, base, select, unit, spare, sign)
            return kept, C(0, 1), above

    tried = cases(CONFIGS[0])
    assert [got.sticky for got in shift(Forgetful(CONFIGS[0]), tried)] != [
        shift_right(CONFIGS[0], *case).sticky for case in tried]


@pytest.mark.parametrize(("wrong", "name"), [
    ({"value_bits": 1}, "value_bits"), ({"window_bits": 1}, "window_bits"),
    ({"fraction_bits": 8}, "fraction_bits"), ({"fraction_bits": -17}, "fraction_bits"),
])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        RoundingShifterConfig(**{"value_bits": 8, "window_bits": 4, **wrong})


def test_an_overflow_that_is_not_seen_is_noticed():
    class Narrow(RoundingShifter):
        def step(self, *arguments):
            kept, below, _ = super().step(*arguments)
            return kept, below, C(0, 1)

    tried = cases(CONFIGS[0])
    assert [got.over for got in shift(Narrow(CONFIGS[0]), tried)] != [
        shift_right(CONFIGS[0], *case).over for case in tried]
