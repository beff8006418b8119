# SPDX-License-Identifier: Apache-2.0
from functools import cache

import numpy as np
import pytest
from amaranth import Mux, Signal
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.ffn import gate_peak as golden
from golden_model.ffn.relu2_glu import relu2_glu
from golden_model.vector_config import Relu2GluConfig
from hw.ffn import gate_peak as unit
from hw.ffn.gate_peak import GatePeak
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, rows, signed_words

CONFIGS = [Relu2GluConfig(), Relu2GluConfig(lanes=4), Relu2GluConfig(lanes=3, gate_bits=21),
           Relu2GluConfig(lanes=2, gate_bits=2, up_bits=2)]


def vectors(config, seed=1):
    """Pairs of gates [beats, lanes] and `peak_bits`: corners, then vectors of every bit length."""
    rng = np.random.default_rng(seed)
    lowest, most = -1 << config.relu_bits, (1 << config.relu_bits) - 1
    for corner in (0, -1, lowest, most, 1, lowest):
        yield np.full((1, config.lanes), corner), config.up_bits
    for bits in rng.permutation(config.relu_bits + 1).tolist():
        gate = rng.integers(lowest, 1 << bits, (int(rng.integers(1, 6)), config.lanes))
        # The largest in any beat and lane.
        gate[rng.integers(len(gate)), rng.integers(config.lanes)] = (1 << bits) - 1
        yield gate, int(rng.integers(config.up_bits + 1))


def run(dut, tokens, stall=0.0):
    payloads = [{"gate": beat, "peak_bits": peak_bits, "last": n == len(gate) - 1}
                for gate, peak_bits in tokens for n, beat in enumerate(gate.tolist())]
    sent, sink = [], Recorder(dut.o, len(payloads), stall=stall)
    simulate(dut, source(dut.i, payloads, stall=stall, cycles=sent), sink.run)
    return ([(list(beat.mask), beat.shift, beat.last) for beat in sink.payloads],
            sink.cycles[-1] - sent[0])


def expected(tokens):
    """Mask, shift so far and end of every beat."""
    return [((beat > 0).astype(int).tolist(), golden.gate_shift(gate[:n + 1], peak_bits),
             int(n == len(gate) - 1))
            for gate, peak_bits in tokens for n, beat in enumerate(gate)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    tokens = list(vectors(config))
    got, took = run(GatePeak(config), tokens, stall)
    assert got == expected(tokens)
    assert stall or took == golden.cycles(config, config.lanes * len(got))


@pytest.mark.parametrize("peak", [1, 8 * 128, 2 ** 17])
def test_shift_is_that_of_the_products(peak):
    config = Relu2GluConfig()
    tokens = [(gate, peak.bit_length()) for gate, _ in vectors(config)]
    got, _ = run(GatePeak(config), tokens)
    for (gate, _), shift in zip(tokens, [shift for _, shift, last in got if last], strict=True):
        _, scale = relu2_glu(gate.ravel(), 0 * gate.ravel(), np.ones(()), np.ones(()), peak)
        assert scale == 2.0 ** shift


def test_largest_shift_fits_its_port():
    config = Relu2GluConfig()
    gate = np.array([[2 ** 17 - 1]])
    assert run(GatePeak(config), [(gate, 18), (gate, 0), (0 * gate, 18)])[0] == [
        ([1], 29, 1), ([1], 11, 1), ([0], 0, 1)]


def test_latency_is_pinned():
    assert [config.peak_latency for config in CONFIGS] == [2, 2, 2, 2]
    assert golden.cycles(CONFIGS[1], 17) == 6


def test_a_union_of_negative_gates_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "Mux", lambda _select, _zero, value: value)
    tokens = list(vectors(CONFIGS[1]))
    assert run(GatePeak(CONFIGS[1]), tokens)[0] != expected(tokens)


def test_a_union_that_outlives_its_vector_is_noticed(monkeypatch):
    def keep(select, zero, value):
        # Of what the unit chooses between, only the union is a plain signal.
        return value if isinstance(value, Signal) else Mux(select, zero, value)

    monkeypatch.setattr(unit, "Mux", keep)
    tokens = [(gate, 18) for gate in (np.array([[5]]), np.array([[0]]))]
    assert run(GatePeak(CONFIGS[0]), tokens)[0] != expected(tokens)


@cache
def device(config):
    return Device(GatePeak(config))


@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(st.tuples(st.lists(rows(signed_words(21), 3), min_size=1, max_size=5),
                                st.integers(0, 18)), min_size=1, max_size=6), stall=STALLS)
def test_any_vectors(drawn, stall):
    tokens = [(np.array(gates), peak_bits) for gates, peak_bits in drawn]
    got, took = run(device(CONFIGS[2]), tokens, stall)
    assert got == expected(tokens)
    assert stall or took == golden.cycles(CONFIGS[2], CONFIGS[2].lanes * len(got))
