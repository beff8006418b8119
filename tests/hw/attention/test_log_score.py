# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import Cat
from amaranth.sim import Simulator

from golden_model import smallfloat
from golden_model.attention.log_score import log_scores
from golden_model.formats import decode_kv_scale
from golden_model.softmax_config import LogScoreConfig
from hw.attention import log_score as unit
from hw.attention.log_score import LogScore
from tests.hw.attention.tokens import small

CONFIGS = [LogScoreConfig(), LogScoreConfig(sum_bits=20, rows_per_stage=1, form="dsp"),
           LogScoreConfig(sum_bits=9, rows_per_stage=9, form="dsp")]
ZERO = (0, 0)


def operands(config, count=600):
    """Scores, units as mantissa and exponent, KV scales: corners, ties and all magnitudes."""
    rng = np.random.default_rng(4)
    peak = (1 << config.sum_bits - 1) - 1
    sums = rng.integers(-peak - 1, peak + 1, count) >> rng.integers(0, config.sum_bits, count)
    mantissas = rng.integers(1 << 15, 1 << 16, count)
    exponents = rng.integers(-30, 10, count)
    scales = rng.integers(0, 1 << 16, count)
    corners = [(peak, 0xFFFF, 127, 0xFFFF), (-peak - 1, 0xFFFF, 127, 0xFFFF),
               (0, 0xFFFF, 127, 0xFFFF), (peak, *ZERO, 0xFFFF), (peak, 0xFFFF, 127, 0),
               (peak, 1 << 15, -128, 1), (-peak, 0xFFFF, -128, 0xFFFF), (1, 1 << 15, 19, 1),
               # The product of mantissas rounds up to the next power of two.
               (1, 0xFFFF, 3, 40 << 10), (1, 0xFFE1, 3, 40 << 10 | 1),
               *((odd, 1 << 15, 25 - shift, 10 << 10) for odd in (1, 3, 5, -1, -3, -5)
                 for shift in (0, 1, 2))]
    for n, (total, m, e, scale) in enumerate(corners):
        sums[n], mantissas[n], exponents[n], scales[n] = total, m, e, scale
    return sums, mantissas, exponents, scales


def run(config):
    """Words of the hardware, in order, and of the golden model."""
    sums, mantissas, exponents, scales = operands(config)
    dut, got = LogScore(config), []

    async def testbench(ctx):
        for cycle in range(len(sums) + config.latency):
            if cycle >= config.latency:
                got.append(ctx.get(dut.z))
            at = min(cycle, len(sums) - 1)
            ctx.set(dut.sum, int(sums[at]))
            ctx.set(dut.unit, {"m": int(mantissas[at]), "e": int(exponents[at])})
            ctx.set(dut.scale, int(scales[at]))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()
    return got, log_scores(sums, smallfloat.join(mantissas, exponents),
                           decode_kv_scale(scales)).tolist()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_matches_golden_model(config):
    got, wanted = run(config)
    assert got == wanted
    assert {-1 << 23, (1 << 23) - 1, 0} < set(wanted)


def test_latency_is_pinned():
    assert [config.latency for config in CONFIGS] == [10, 20, 7]


def test_payload_helper_gives_normalised_small_floats():
    assert small([0.0, 1.0]) == [{"m": 0, "e": 0}, {"m": 1 << 15, "e": -15}]


def with_hidden_bit(scale):
    return Cat(scale[:10], 1), scale[10:]


def test_a_scale_of_zero_that_counts_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "kv_parts", with_hidden_bit)
    got, wanted = run(CONFIGS[0])
    assert got != wanted


def test_a_score_out_of_step_is_noticed(monkeypatch):
    def early(m, value, steps, name, **kwargs):
        return REAL_LATER(m, value, steps - (name == "exponent"), name, **kwargs)

    monkeypatch.setattr(unit, "later", early)
    got, wanted = run(CONFIGS[0])
    assert got != wanted


REAL_LATER = unit.later


@pytest.mark.parametrize(("wrong", "name"), [({"sum_bits": 1}, "in_bits"), ({"form": ""}, "form"),
                                             ({"rows_per_stage": 0}, "rows_per_stage")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        LogScoreConfig(**wrong)
