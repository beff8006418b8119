# SPDX-License-Identifier: Apache-2.0
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from amaranth import C
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.ffn.gate_peak import gate_shift
from golden_model.ffn.relu2_glu import cycles, relu2_glu
from golden_model.vector_config import Relu2GluConfig
from hw.delay import later
from hw.ffn import relu2_glu as unit
from hw.ffn.relu2_glu import Relu2Glu
from hw.quant.rounding_shifter import RoundingShifter
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, signed_words

CONFIGS = [Relu2GluConfig(lanes=2), Relu2GluConfig(lanes=3, gate_bits=21, up_bits=21, form="dsp"),
           Relu2GluConfig(lanes=2, gate_bits=7, up_bits=5, rows_per_stage=1),
           Relu2GluConfig(lanes=4, gate_bits=2, up_bits=2, form="dsp")]


def tokens(config, count, seed=1):
    """Gates, up sums and the bound on them: tokens of every bit length of gate, corners first."""
    rng = np.random.default_rng(seed)
    lowest, most = -1 << config.relu_bits, (1 << config.relu_bits) - 1
    bound = 1 << config.up_bits - 1
    for bits in (0, config.relu_bits, *rng.permutation(config.relu_bits)):
        peak = 1 << bits
        gate = np.clip(rng.integers(-peak, peak, count), lowest, most)
        gate[:6] = np.clip([peak - 1, peak - 1, peak - 1, 0, -1, lowest], lowest, most)
        limit = rng.choice([bound, max(1, bound >> 2)])
        up = rng.integers(-limit, limit, count)
        up[:6] = -limit, limit - 1, 0, -limit, limit - 1, -limit
        yield gate, up, int(limit)


def golden(config, vectors):
    """Words of the golden model and the shifts that its scales tell, a row a beat."""
    words, shifts = [], []
    for gate, up, peak in vectors:
        word, scale = relu2_glu(gate, up, np.ones(()), np.ones(()), peak)
        words += word.reshape(-1, config.lanes).tolist()
        shifts += [int(np.log2(scale))] * (len(gate) // config.lanes)
    return words, shifts


def run(dut, gate, up, shift, stall=0.0):
    rows = (np.reshape(column, (-1, dut.config.lanes)).tolist() for column in (gate, up))
    payloads = [{"gate": g, "up": u, "shift": by} for g, u, by in zip(*rows, shift, strict=True)]
    sent, sink = [], Recorder(dut.o, len(payloads), stall=stall)
    simulate(dut, source(dut.i, payloads, stall=stall, cycles=sent), sink.run)
    return [list(words) for words in sink.payloads], sink.cycles[-1] - sent[0]


def run_tokens(dut, count, stall=0.0):
    """Words of the component and of the golden model, and the cycles they took."""
    vectors = list(tokens(dut.config, count))
    words, shifts = golden(dut.config, vectors)
    gate, up = (np.concatenate([vector[n] for vector in vectors]) for n in range(2))
    got, took = run(dut, gate, up, shifts, stall)
    return got, words, took


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    got, words, took = run_tokens(Relu2Glu(config), 12, stall)
    assert got == words
    assert stall or took == cycles(config, config.lanes * len(got))


def test_every_shift_rounds_ties_to_even():
    config = Relu2GluConfig(form="dsp")
    cases = [(1 << shift // 2, odd << shift % 2, shift + 1) for shift in range(config.most_shift)
             for odd in (1, -1, 3, -3, 5)]
    cases += [(g, u, by) for g, _, by in cases[::5] for u in (7, -11, 2 ** 17 - 1, -2 ** 17)
              if g * g * abs(u) >> by < 2 ** 23]
    gate, up, shift = zip(*cases)
    got, _ = run(Relu2Glu(config), gate, up, shift)
    assert [word for word, in got] == [round(Fraction(g * g * u, 2 ** by)) for g, u, by in cases]
    assert max(shift) == config.most_shift == 29
    assert [word for word, in got[:5]] == [0, 0, 2, -2, 2]


@pytest.mark.parametrize("config", CONFIGS[:2], ids=str)
def test_extremes_of_every_bit_length_fit_a_word_unsaturated(config):
    cases = []
    for gate_bits in range(config.gate_bits):
        for peak_bits in range(1, config.up_bits + 1):
            gate, limit = (1 << gate_bits) - 1, (1 << peak_bits) - 1
            shift = gate_shift(np.array([gate]), peak_bits)
            bound = 1 << config.up_bits - 1
            cases += [(gate, max(-bound, -limit), shift), (gate, min(limit, bound - 1), shift)]
    exact = [round(Fraction(g * g * u, 2 ** by)) for g, u, by in cases]
    assert 2 ** 22 < max(map(abs, exact)) < 2 ** 23
    dut = Relu2Glu(Relu2GluConfig(gate_bits=config.gate_bits, up_bits=config.up_bits, form="dsp"))
    got, _ = run(dut, *zip(*cases))
    assert [word for word, in got] == exact


@pytest.mark.parametrize(("config", "latency"), list(zip(CONFIGS, [10, 12, 11, 6])), ids=str)
def test_latency_is_pinned(config, latency):
    assert config.latency == latency
    assert cycles(config, 5 * config.lanes) == latency + 4


class Shortened(RoundingShifter):
    """Loses what lies below the half."""

    def step(self, *args):
        kept, _, above = super().step(*args)
        return kept, C(0, 1), above


def unrectified(_negative, _zero, gate):
    return gate


def early(m, value, steps, name, **arguments):
    """Give the shift a cycle ahead of its product."""
    return later(m, value, steps - (name == "places"), name, **arguments)


@pytest.mark.parametrize(("name", "broken"), [
    ("Mux", unrectified), ("RoundingShifter", Shortened), ("later", early)],
    ids=["negative_gates", "sticky", "out_of_step"])
def test_a_planted_bug_is_noticed(monkeypatch, name, broken):
    monkeypatch.setattr(unit, name, broken)
    got, words, _ = run_tokens(Relu2Glu(Relu2GluConfig(lanes=1, form="dsp")), 12)
    assert got != words


@pytest.mark.parametrize(("wrong", "name"), [
    ({"lanes": 0}, "lanes"), ({"gate_bits": 1}, "gate_bits"), ({"gate_bits": 22}, "gate_bits"),
    ({"up_bits": 22}, "up_bits"), ({"rows_per_stage": 0}, "rows_per_stage"),
    ({"form": ""}, "form")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        Relu2GluConfig(**wrong)


@cache
def device(config):
    return Device(Relu2Glu(config))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), peak=st.sampled_from([1, 2, 1 << 16, (1 << 17) - 1, 1 << 17]), stall=STALLS)
def test_any_vector(data, peak, stall):
    config = Relu2GluConfig(form="dsp")
    drawn = data.draw(st.lists(st.tuples(signed_words(18), signed_words(18)), min_size=1,
                               max_size=12))
    gate, up = map(np.array, zip(*drawn))
    up = np.clip(up, -peak, min(peak, (1 << 17) - 1))
    words, shifts = golden(config, [(gate, up, peak)])
    got, took = run(device(config), gate, up, shifts, stall)
    assert got == words
    assert stall or took == cycles(config, len(got))
