# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.ffn.squarer import square
from golden_model.vector_config import Relu2GluConfig
from hw.delay import register
from hw.ffn import squarer as unit
from hw.ffn.squarer import Squarer
from sim.simulator import simulate


def squares(dut, x, stall=0.0):
    """Squares of a pipeline that stands still at random."""
    rng, got = np.random.default_rng(4), []

    async def testbench(ctx):
        moves = 0
        while len(got) < len(x):
            ctx.set(dut.advance, advance := rng.random() >= stall)
            ctx.set(dut.x, int(x[min(moves, len(x) - 1)]))
            if moves >= dut.config.squarer_latency and advance:
                got.append(ctx.get(dut.square))
            await ctx.tick()
            moves += advance

    simulate(dut, testbench)
    return got


def operands(config, count, seed=1):
    most = (1 << config.relu_bits) - 1
    corners = [0, most, 1, most - 1, most // 3, most - most // 3, most // 2, most // 2 + 1]
    rng = np.random.default_rng(seed)
    return np.concatenate([corners, rng.integers(0, most + 1, count)])


@pytest.mark.parametrize("form", ["booth", "dsp"])
@pytest.mark.parametrize("gate_bits", [2, 3, 17, 18, 21])
def test_matches_golden_model(gate_bits, form):
    config = Relu2GluConfig(gate_bits=gate_bits, form=form)
    x = operands(config, 40)
    assert squares(Squarer(config), x, stall=0.3) == square(config, x).tolist()


@pytest.mark.parametrize("rows_per_stage", [1, 2, 9])
@pytest.mark.parametrize("gate_bits", [2, 3, 6, 9])
def test_every_small_operand(gate_bits, rows_per_stage):
    config = Relu2GluConfig(gate_bits=gate_bits, rows_per_stage=rows_per_stage)
    x = np.arange(1 << config.relu_bits)
    assert squares(Squarer(config), x) == square(config, x).tolist()


@pytest.mark.parametrize(("gate_bits", "rows_per_stage", "latency"),
                         [(2, 3, 1), (17, 3, 3), (18, 3, 3), (19, 3, 4), (18, 1, 9), (18, 9, 1)])
def test_latency_is_pinned(gate_bits, rows_per_stage, latency):
    config = Relu2GluConfig(gate_bits=gate_bits, rows_per_stage=rows_per_stage)
    assert config.squarer_latency == latency


def test_a_lost_carry_of_a_negative_digit_is_noticed():
    class Forgetful(Squarer):
        def term(self, digit, rest):
            b0, b1, b2 = digit
            return super().term((b0, b1, b2 & ~b0), rest)

    config = Relu2GluConfig(gate_bits=8)
    x = np.arange(1 << 7)
    assert squares(Forgetful(config), x) != square(config, x).tolist()


@pytest.mark.parametrize("x", [-1, 1 << 17])
def test_golden_model_refuses_operands_that_do_not_fit(x):
    with pytest.raises(ValueError, match="x must fit 17 unsigned bits"):
        square(Relu2GluConfig(), np.array([0, x]))


def test_a_pipeline_that_does_not_stand_still_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "register", lambda m, value, name, *, advance:
                        register(m, value, name))
    config = Relu2GluConfig(gate_bits=8)
    x = operands(config, 40)
    assert squares(Squarer(config), x, stall=0.3) != square(config, x).tolist()
