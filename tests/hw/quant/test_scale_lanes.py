# SPDX-License-Identifier: Apache-2.0
from functools import cache

import numpy as np
import pytest
from amaranth import C
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import smallfloat
from golden_model.quant.scale_lanes import cycles, scale_lanes
from golden_model.quant_config import EXPONENT_BITS, MANTISSA_BITS, ScaleLanesConfig
from hw.quant import scale_lanes as unit
from hw.quant.rounding_shifter import RoundingShifter
from hw.quant.scale_lanes import ScaleLanes
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, rows, signed_words, small_reals
from tests.hw.quant.test_multiplier import Late

CONFIGS = [
    ScaleLanesConfig(lanes=2),
    ScaleLanesConfig(lanes=1, out_bits=8, form="dsp"),
    ScaleLanesConfig(lanes=2, in_bits=24, out_bits=16, rows_per_stage=1, form="dsp"),
    ScaleLanesConfig(lanes=3, in_bits=7, out_bits=4, rows_per_stage=9),
]


def beats(config, count, seed=1):
    """Random beats whose results mostly fit, after ones that saturate, tie or vanish."""
    rng = np.random.default_rng(seed)
    peak = 1 << config.in_bits - 1
    corners = np.array([-peak, peak - 1, -1, 0, 1, 2, 3, -3, 5, -5, 7])
    m = np.array([0, 1 << 15, 65535, 49152, 40961])
    y, mantissa = (grid.ravel() for grid in np.meshgrid(corners, m))
    y = np.concatenate([y, rng.integers(-peak, peak, count) >> rng.integers(0, config.in_bits,
                                                                             count)])
    mantissa = np.concatenate([mantissa, rng.integers(1 << 15, 1 << 16, count)])
    # The result has up to out_bits + 1 bits, or the product's half bit is its last.
    size = np.log2(np.maximum(np.abs(y), 1)).astype(int) + 16
    e = rng.integers(0, config.out_bits + 3, len(y)) - size
    e[::9] = rng.choice([-128, 127, -64, 64, 8, -8], len(e[::9]))
    shift = rng.choice([0, 0, 0, 13, -128, 127, -5], len(y))
    e = np.clip(e - np.where(np.abs(shift) < 20, shift, 0), -128, 127) * (mantissa > 0)
    rows = np.stack([np.roll(y, lane) for lane in range(config.lanes)], axis=1)
    return rows, smallfloat.join(mantissa, e), shift


def payloads(y, scale, shift):
    return [{"y": row, "scale": {"m": m, "e": e}, "shift": by} for row, m, e, by in
            zip(y.tolist(), *(part.tolist() for part in smallfloat.split(scale)), shift.tolist())]


def run(dut, y, scale, shift, stall=0.0):
    sent, sink = [], Recorder(dut.o, len(y), stall=stall)
    simulate(dut, source(dut.i, payloads(y, scale, shift), stall=stall, cycles=sent), sink.run)
    return [list(payload) for payload in sink.payloads], sink.cycles[-1] - sent[0]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    vectors = beats(config, 60)
    got, took = run(ScaleLanes(config), *vectors, stall=stall)
    assert got == scale_lanes(config, *vectors).tolist()
    assert stall or took == cycles(config, len(got))


def test_ties_go_to_the_even_word():
    config = ScaleLanesConfig(lanes=1, form="dsp")
    y = np.arange(-7, 8)[:, None]
    half = np.full(15, 0.5)
    got, _ = run(ScaleLanes(config), y, half, np.zeros(15, np.int64))
    assert [word for word, in got] == [-4, -3, -2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3, 4]


def test_saturates_at_both_ends():
    config = ScaleLanesConfig(lanes=2, form="dsp")
    peak = 1 << 23
    y = np.array([[peak - 1, -peak], [peak, -peak - 1], [2 * peak - 1, -2 * peak - 1], [1, -1]])
    scale, shift = np.array([1.0, 1.0, 0.5, 1.0]), np.array([0, 0, 0, 127])
    got, _ = run(ScaleLanes(config), y, scale, shift)
    assert got == 4 * [[peak - 1, -peak]]


@pytest.mark.parametrize(("config", "latency"), list(zip(CONFIGS, [7, 7, 13, 5])), ids=str)
def test_latency_is_pinned(config, latency):
    assert config.latency == latency


def test_a_lost_sticky_bit_is_noticed(monkeypatch):
    def forgetful(self, *arguments):
        kept, _, above = step(self, *arguments)
        return kept, C(0, 1), above

    step = RoundingShifter.step
    monkeypatch.setattr(RoundingShifter, "step", forgetful)
    config = ScaleLanesConfig(lanes=1, form="dsp")
    vectors = beats(config, 60)
    assert run(ScaleLanes(config), *vectors)[0] != scale_lanes(config, *vectors).tolist()


@pytest.mark.parametrize(("wrong", "name"), [
    ({"lanes": 0}, "lanes"), ({"in_bits": 38}, "in_bits"), ({"out_bits": 25}, "out_bits"),
    ({"shift_bits": 1}, "shift_bits"), ({"form": "table"}, "form"),
])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        ScaleLanesConfig(**wrong)


def test_formats_agree_with_the_golden_model():
    assert MANTISSA_BITS == smallfloat.MANTISSA_BITS
    assert -(1 << EXPONENT_BITS - 1) == smallfloat.EXPONENT_MIN


@cache
def device(config):
    return Device(ScaleLanes(config))


@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(st.tuples(rows(signed_words(24), 2), small_reals(), signed_words(8)),
                      min_size=1, max_size=12), stall=STALLS)
def test_any_beats(drawn, stall):
    y, scale, shift = map(np.array, zip(*drawn))
    got, took = run(device(CONFIGS[2]), y, scale, shift, stall)
    assert got == scale_lanes(CONFIGS[2], y, scale, shift).tolist()
    assert stall or took == cycles(CONFIGS[2], len(got))


def test_a_late_product_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "Multiplier", Late)
    config = ScaleLanesConfig(lanes=1, form="dsp")
    vectors = beats(config, 60)
    assert run(ScaleLanes(config), *vectors)[0] != scale_lanes(config, *vectors).tolist()


def test_a_pipeline_that_is_always_ready_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "vacant", lambda m, ahead, name, *, advance: C(1))
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    config = ScaleLanesConfig(lanes=1, form="dsp")
    vectors = beats(config, 60)
    try:
        got, _ = run(ScaleLanes(config), *vectors, stall=0.5)
    except AssertionError:
        return   # words are lost, and waited for
    assert got != scale_lanes(config, *vectors).tolist()
