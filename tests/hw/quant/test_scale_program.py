# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring

from golden_model import smallfloat
from golden_model.quant.rms_norm import FixedNorm, rms_norm
from golden_model.quant.scale_program import (
    RATIO_OPERATIONS,
    cycles,
    norm_unit,
    operations,
    scalars,
)
from golden_model.quant_config import NormQuantiserConfig, SmallFloatUnitConfig
from hw.quant import scale_program
from hw.quant.scale_program import ScaleProgram
from hw.quant.small_float_unit import Operation, SmallFloatUnit
from sim.simulator import simulate

CONFIG, UNIT = NormQuantiserConfig(), SmallFloatUnitConfig()
CASES = [(0, 0), (1, 1), (123_457, 987_654_321), ((1 << 49) - 1, (1 << 60) + 1), (2047, 1 << 52)]
LEVELS, SCALE, NORM_SCALE, EPS = smallfloat.from_float([700.0, 2.0 ** -12, 0.003, 2e-3])


def small(value):
    m, e = smallfloat.split(np.asarray(value))
    return {"m": int(m), "e": int(e)}


def run(statistic, square_sum, norm):
    """Ratio, scale, and the cycles from `go` to each."""
    m = Module()
    m.submodules.dut = dut = ScaleProgram(CONFIG)
    m.submodules.unit = unit = SmallFloatUnit(UNIT)
    wiring.connect(m, dut.o_request, unit.i)
    wiring.connect(m, unit.o, dut.i_response)
    seen = {}

    async def testbench(ctx):
        ctx.set(dut.i_command.payload, {
            "norm": norm, "levels": small(LEVELS), "scale": small(SCALE),
            "norm_scale": small(NORM_SCALE), "eps": small(EPS)})
        ctx.set(dut.i_command.valid, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.i_command.ready)
        await ctx.tick()
        ctx.set(dut.i_command.valid, 0)
        ctx.set(dut.statistic, statistic)
        ctx.set(dut.square_sum, square_sum)
        ctx.set(dut.o_scale.ready, 1)
        ctx.set(dut.go, 1)
        for cycle in range(cycles(UNIT, operations(norm)) + 1):
            if ctx.get(dut.ratio_valid):
                seen.setdefault("ratio", (cycle - 1, ctx.get(dut.ratio)))
            if ctx.get(dut.o_scale.valid):
                seen["scale"] = cycle, ctx.get(dut.o_scale.payload)
            assert ctx.get(dut.busy)
            await ctx.tick()
            ctx.set(dut.go, 0)
        assert not ctx.get(dut.busy)

    simulate(m, testbench)
    return {name: (cycle, {"m": value.m, "e": value.e}) for name, (cycle, value) in seen.items()}


@pytest.mark.parametrize(("statistic", "square_sum"), CASES)
@pytest.mark.parametrize("norm", [False, True], ids=["plain", "norm"])
def test_values_and_cycles_match_golden_model(statistic, square_sum, norm):
    unit = norm_unit(square_sum, SCALE, NORM_SCALE, EPS) if norm else SCALE
    ratio, scale = scalars(statistic, LEVELS, unit)
    assert run(statistic, square_sum, norm) == {
        "ratio": (cycles(UNIT, RATIO_OPERATIONS), small(ratio)),
        "scale": (cycles(UNIT, operations(norm)), small(scale)),
    }


def test_the_norm_is_that_of_the_exact_model():
    x = np.array([3, -1000, 1 << 23])
    norm = FixedNorm(np.array([5, -2047, 12]), NORM_SCALE, EPS)
    assert rms_norm(x, SCALE, norm)[1] == norm_unit(int((x * x).sum()), SCALE, NORM_SCALE, EPS)


@pytest.mark.parametrize(("norm", "ratio", "scale"), [(False, 40, 87), (True, 40, 266)])
def test_cycles_are_pinned(norm, ratio, scale):
    assert cycles(UNIT, RATIO_OPERATIONS) == ratio
    assert cycles(UNIT, operations(norm)) == scale


@pytest.mark.parametrize("step", range(2))
def test_a_swapped_division_is_noticed(monkeypatch, step):
    """A ratio turned upside down must not pass."""
    program = list(scale_program.PROGRAM)
    operation, left, right, to = program[1 + step]
    assert operation == Operation.DIV
    program[1 + step] = operation, right, left, to
    monkeypatch.setattr(scale_program, "PROGRAM", program)
    with pytest.raises(AssertionError):
        test_values_and_cycles_match_golden_model(123_457, 987_654_321, True)
