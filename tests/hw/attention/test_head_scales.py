# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.attention.attention import score_scale_of
from golden_model.attention.head_scales import (
    HeadScalesCycles,
    code_ratio,
    head_scale,
    score_unit,
)
from golden_model.softmax_config import SoftmaxConfig
from hw.attention import head_scales as unit
from hw.attention.head_scales import HeadScales
from sim.simulator import run_cycles
from tests.hw.attention.tokens import UNIT, WithUnits, small
from tests.mutants import mutant

CONFIGS = [SoftmaxConfig(), SoftmaxConfig(queries=3, weight_bits=12, max_rows=4096)]


def run(config, stall, count=6, component=HeadScales):
    """Units, ratios and scales of the hardware and of the golden model; handshakes are checked."""
    rng = np.random.default_rng(8)
    heads = config.queries
    scales = smallfloat.from_float(10.0 ** rng.uniform(-6, 3, (count, heads)))
    scales[1] = 0
    peaks = rng.integers(0, 1 << rng.integers(1, 25, (count, heads)))
    totals = rng.integers(1 << 15, 1 << config.total_bits, (count, heads))
    exponents = rng.integers(0, 64, count)
    peaks[0], totals[0], exponents[0] = 0, 1 << 15, 0
    peaks[1], totals[1], exponents[1] = (1 << 24) - 1, (1 << config.total_bits) - 1, 63
    wanted = [small(score_unit(scales, score_scale_of(32))),
              small(code_ratio(peaks, config.weight_bits)),
              [small(value) for n in range(count) for value in head_scale(
                  peaks[n], totals[n], int(exponents[n]) - 55, config.weight_bits)]]
    model = HeadScalesCycles(config, UNIT)

    def check(seen):
        total = bool(seen["i_total"][0])
        step = model.step(bool(seen["i_scale"][0]), bool(seen["o_unit"][1]), total,
                          bool(seen["o_ratio"][1]), bool(seen["o_scale"][1]))
        assert step == (bool(seen["i_scale"][1]), bool(seen["o_unit"][0]), all(seen["i_total"]),
                        bool(seen["o_ratio"][0]), bool(seen["o_scale"][0]))

    dut = WithUnits(component(config), score_scale=small(score_scale_of(32)))
    got = run_cycles(dut, {
        "i_scale": small(scales.ravel()),
        "i_total": [{"peaks": p, "totals": t, "exponent": e} for p, t, e in
                    zip(peaks.tolist(), totals.tolist(), exponents.tolist())],
    }, {"o_unit": count, "o_ratio": count, "o_scale": count * heads}, stall=stall,
        rng=np.random.default_rng(2), check=check)

    def plain(value):
        return {"m": value.m, "e": value.e}

    lists = [[[plain(head) for head in payload] for _, payload in got[name]]
             for name in ("o_unit", "o_ratio")]
    return [*lists, [plain(payload) for _, payload in got["o_scale"]]], wanted


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_matches_golden_model_in_value_and_cycle(config, stall):
    got, wanted = run(config, stall)
    assert got == wanted


def test_a_program_of_seven_steps_is_pinned():
    model = HeadScalesCycles(CONFIGS[0], UNIT)
    steps = [model.step(cycle == 0, True, cycle > 40, True, True) for cycle in range(180)]
    assert [n for n, step in enumerate(steps) if step.unit] == [8]
    assert next(n for n, step in enumerate(steps) if step.ratio) == 41 + 15
    assert next(n for n, step in enumerate(steps) if step.total) == 41 + 40


def test_a_unit_does_not_wait_for_the_scales_of_the_pass_before():
    model = HeadScalesCycles(CONFIGS[0], UNIT)
    steps = [model.step(cycle in (0, 45), True, cycle == 41 or 41 < cycle < 90, True, True)
             for cycle in range(120)]
    assert [n for n, step in enumerate(steps) if step.unit] == [8, 61]
    assert next(n for n, step in enumerate(steps) if step.total) == 41 + 45


def test_a_unit_in_between_that_is_forgotten_is_noticed():
    broken = mutant(HeadScales, "step.eq(back), back.eq(0)", "step.eq(0), back.eq(0)")
    with pytest.raises(AssertionError):
        run(CONFIGS[0], 0.0, component=broken)


def test_another_order_of_operands_is_noticed(monkeypatch):
    program = list(unit.PROGRAM)
    operation, left, right, to = program[2]
    monkeypatch.setattr(unit, "PROGRAM", [*program[:2], (operation, right, left, to), *program[3:]])
    got, wanted = run(CONFIGS[0], 0.0)
    assert got[1] != wanted[1]


def test_a_wrong_exponent_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "POWER_BIAS", 61)
    got, wanted = run(CONFIGS[0], 0.0)
    assert got[:2] == wanted[:2]
    assert got[2] != wanted[2]
