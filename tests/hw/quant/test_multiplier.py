# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.quant.multiplier import multiply
from golden_model.quant_config import MultiplierConfig
from hw.delay import register
from hw.quant import multiplier as unit
from hw.quant.multiplier import Multiplier
from sim.simulator import simulate

SIZES = [(2, 2), (3, 2), (2, 3), (5, 7), (24, 12), (36, 17), (36, 24)]


def operands(config, count, seed=1):
    rng = np.random.default_rng(seed)
    sides = []
    for bits, period in ((config.a_bits, 1), (config.b_bits, 5)):
        peak = 1 << bits - 1
        corners = np.repeat([-peak, peak - 1, -1, 0, 1], period)
        sides.append(np.concatenate([np.resize(corners, 25), rng.integers(-peak, peak, count)]))
    return sides


def products(dut, a, b, stall=0.0):
    """Products of a pipeline that stands still at random."""
    rng, got = np.random.default_rng(4), []

    async def testbench(ctx):
        moves = 0
        while len(got) < len(a):
            ctx.set(dut.advance, advance := rng.random() >= stall)
            ctx.set(dut.a, int(a[min(moves, len(a) - 1)]))
            ctx.set(dut.b, int(b[min(moves, len(a) - 1)]))
            if moves >= dut.config.latency and advance:
                got.append(ctx.get(dut.product))
            await ctx.tick()
            moves += advance

    simulate(dut, testbench)
    return got


@pytest.mark.parametrize("form", ["booth", "dsp"])
@pytest.mark.parametrize(("a_bits", "b_bits"), SIZES)
def test_matches_golden_model(a_bits, b_bits, form):
    config = MultiplierConfig(a_bits=a_bits, b_bits=b_bits, form=form)
    a, b = operands(config, 40)
    assert products(Multiplier(config), a, b, stall=0.3) == multiply(config, a, b).tolist()


@pytest.mark.parametrize("form", ["booth", "dsp"])
def test_small_operands_exhaustively(form):
    config = MultiplierConfig(a_bits=4, b_bits=5, rows_per_stage=1, form=form)
    a, b = (side.ravel() for side in np.meshgrid(np.arange(-8, 8), np.arange(-16, 16)))
    assert products(Multiplier(config), a, b) == multiply(config, a, b).tolist()


@pytest.mark.parametrize(("b_bits", "rows_per_stage", "latency"),
                         [(2, 1, 1), (12, 3, 2), (17, 3, 3), (24, 3, 4), (24, 1, 12), (24, 99, 1)])
def test_latency_is_pinned(b_bits, rows_per_stage, latency):
    config = MultiplierConfig(a_bits=8, b_bits=b_bits, rows_per_stage=rows_per_stage)
    assert config.latency == latency


def test_a_row_without_its_carry_is_noticed():
    class Forgetful(Multiplier):
        def booth(self, m):
            return (super().booth(m).as_signed() - self.b[-1])[:len(self.product)]

    config = MultiplierConfig(a_bits=5, b_bits=7)
    a, b = operands(config, 40)
    assert products(Forgetful(config), a, b) != multiply(config, a, b).tolist()


@pytest.mark.parametrize(("wrong", "message"), [
    ({"a_bits": 1}, "^a_bits must be an integer of at least 2"),
    ({"form": "karatsuba"}, "^form must be one of"),
    ({"a_bits": 60}, r"^a_bits \+ b_bits must be at most 64"),
])
def test_config_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        MultiplierConfig(**{"a_bits": 8, "b_bits": 8, **wrong})


def test_golden_model_refuses_operands_that_do_not_fit():
    config = MultiplierConfig(a_bits=4, b_bits=4)
    with pytest.raises(ValueError, match="b must fit 4 signed bits"):
        multiply(config, np.array([7]), np.array([8]))


class Late(Multiplier):
    """Its product comes a step late."""

    def booth(self, m):
        return register(m, super().booth(m), "again", advance=self.advance)

    def inferred(self, m):
        return register(m, super().inferred(m), "again", advance=self.advance)


@pytest.mark.parametrize("form", ["booth", "dsp"])
def test_a_late_product_is_noticed(form):
    config = MultiplierConfig(a_bits=5, b_bits=7, form=form)
    a, b = operands(config, 40)
    assert products(Late(config), a, b, stall=0.3) != multiply(config, a, b).tolist()


def test_a_pipeline_that_does_not_stand_still_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "register", lambda m, value, name, *, advance:
                        register(m, value, name))
    config = MultiplierConfig(a_bits=5, b_bits=7)
    a, b = operands(config, 40)
    assert products(Multiplier(config), a, b, stall=0.3) != multiply(config, a, b).tolist()
