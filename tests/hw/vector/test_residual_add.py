# SPDX-License-Identifier: Apache-2.0
from functools import cache

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import smallfloat
from golden_model.vector.residual_add import cycles, residual_add
from golden_model.vector_config import ResidualAddConfig
from hw.quant.scale_lanes import ScaleLanes
from hw.vector import residual_add as unit
from hw.vector.residual_add import ResidualAdd
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, rows, signed_words, small_reals

PEAK = 1 << 23
CONFIGS = [ResidualAddConfig(), ResidualAddConfig(lanes=1, in_bits=20, form="dsp"),
           ResidualAddConfig(lanes=3, in_bits=36, rows_per_stage=1, form="dsp")]


def beats(config, count, seed=1):
    """Beats that saturate in the scaling, in the sum, in neither; then random ones."""
    rng = np.random.default_rng(seed)
    most = (1 << config.in_bits - 1) - 1
    corners = [(x, y, scale) for x in (-PEAK, -1, 0, PEAK - 1) for y in (-most - 1, -1, 1, most)
               for scale in (0.0, 2.0 ** -13, 1.0, smallfloat.LARGEST)]
    x, y, scale = (np.array(column) for column in zip(*corners))
    x = np.concatenate([x, rng.integers(-PEAK, PEAK, count)])
    y = np.concatenate([y, rng.integers(-most - 1, most + 1, count)])
    scale = np.concatenate([scale, smallfloat.from_float(np.exp(rng.normal(-7, 3, count)))])
    lanes = range(config.lanes)
    return (np.stack([np.roll(x, 3 * n) for n in lanes], axis=1),
            np.stack([np.roll(y, n) for n in lanes], axis=1),
            scale, rng.choice([0, 10, 13], len(x)))


def run(dut, x, y, scale, shift, stall=0.0):
    payloads = [{"x": words, "y": sums, "scale": {"m": m, "e": e}, "shift": by}
                for words, sums, m, e, by in zip(
                    x.tolist(), y.tolist(), *(part.tolist() for part in smallfloat.split(scale)),
                    shift.tolist())]
    sent, sink = [], Recorder(dut.o, len(payloads), stall=stall)
    simulate(dut, source(dut.i, payloads, stall=stall, cycles=sent), sink.run)
    return [list(words) for words in sink.payloads], sink.cycles[-1] - sent[0]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    vectors = beats(config, 40)
    got, took = run(ResidualAdd(config), *vectors, stall=stall)
    assert got == residual_add(*vectors).tolist()
    assert stall or took == cycles(config, config.lanes * len(got))


def test_the_sum_saturates_after_the_scaling_did():
    x = np.array([[PEAK - 1], [-PEAK], [PEAK - 1], [-PEAK]])
    y = np.array([[1], [-1], [-PEAK], [PEAK - 1]])
    got, _ = run(ResidualAdd(ResidualAddConfig(lanes=1, form="dsp")), x, y,
                 np.array([1.0, 1.0, 4.0, 4.0]), np.zeros(4, np.int64))
    assert got == [[PEAK - 1], [-PEAK], [-1], [-1]]


@pytest.mark.parametrize(("config", "latency"), list(zip(CONFIGS, [8, 8, 14])), ids=str)
def test_latency_is_pinned(config, latency):
    assert config.latency == latency


def test_words_out_of_step_are_noticed():
    config = ResidualAddConfig(lanes=1, form="dsp")
    x, y, scale, shift = beats(config, 40)
    got, _ = run(ResidualAdd(config), np.roll(x, 1, axis=0), y, scale, shift)
    assert got != residual_add(x, y, scale, shift).tolist()


@pytest.mark.parametrize(("wrong", "name"), [({"lanes": 0}, "lanes"), ({"in_bits": 38}, "in_bits"),
                                             ({"rows_per_stage": 0}, "rows_per_stage")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        ResidualAddConfig(**wrong)


@cache
def device(config):
    return Device(ResidualAdd(config))


@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(st.tuples(rows(signed_words(24), 1), rows(signed_words(20), 1),
                                small_reals(), signed_words(8)), min_size=1, max_size=12),
       stall=STALLS)
def test_any_beats(drawn, stall):
    vectors = [np.array(column) for column in zip(*drawn)]
    got, took = run(device(CONFIGS[1]), *vectors, stall)
    assert got == residual_add(*vectors).tolist()
    assert stall or took == cycles(CONFIGS[1], len(got))


class Late(ScaleLanes):
    """A cycle later than it says; the words do not wait."""

    def elaborate(self, platform):
        m = Module()
        inner = ScaleLanes(self.config)
        m.submodules.inner = inner
        wiring.connect(m, wiring.flipped(self.i), inner.i)
        m.d.comb += inner.o.ready.eq(~self.o.valid | self.o.ready)
        with m.If(inner.o.ready):
            m.d.sync += [self.o.valid.eq(inner.o.valid), self.o.payload.eq(inner.o.payload)]
        return m


@pytest.mark.parametrize(("name", "broken"), [
    ("Mux", lambda _over, _limit, total: total), ("ScaleLanes", Late)],
    ids=["no_saturation", "late_scaling"])
def test_a_planted_bug_is_noticed(monkeypatch, name, broken):
    monkeypatch.setattr(unit, name, broken)
    config = ResidualAddConfig(lanes=1, form="dsp")
    vectors = beats(config, 40)
    assert run(ResidualAdd(config), *vectors)[0] != residual_add(*vectors).tolist()
