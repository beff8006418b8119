# SPDX-License-Identifier: Apache-2.0
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.attention.rope import TABLE_FRACTION_BITS, extra_bits, rope, rope_tables
from golden_model.vector.rope import cycles, turn_pairs
from golden_model.vector_config import RopeConfig
from hw.vector import rope as unit
from hw.vector.rope import Rope
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, signed_words
from tests.hw.quant.test_multiplier import Late

CONFIGS = [RopeConfig(pairs=2), RopeConfig(extra_bits=2, in_bits=22, form="dsp"),
           RopeConfig(pairs=3, in_bits=17, rows_per_stage=8, form="dsp")]
ONE = 1 << TABLE_FRACTION_BITS


def beats(config, count, seed=1):
    """Beats [count, pairs] of pairs and turns: corners that saturate or tie, then random ones."""
    rng = np.random.default_rng(seed)
    peak = 1 << config.in_bits - 1
    tie = 1 << config.dropped_bits - 1
    corners = [(a, b, c, s) for a in (-peak, peak - 1, 1, -3) for b in (-peak, peak - 1, 0)
               for c, s in ((ONE, 0), (0, -ONE), (-ONE, ONE), (tie, 0), (0, tie), (-tie, 0))]
    angle = rng.uniform(0, 2 * np.pi, count)
    # The size of a projection's sums: results that do not saturate.
    size = min(peak, 1 << 22 - config.extra_bits)
    columns = [np.concatenate(column) for column in zip(np.array(corners).T, (
        rng.integers(-size, size, count), rng.integers(-size, size, count),
        np.rint(np.cos(angle) * ONE).astype(int), np.rint(np.sin(angle) * ONE).astype(int)))]
    return [np.stack([np.roll(column, 5 * n) for n in range(config.pairs)], axis=1)
            for column in columns]


def run(dut, vectors, stall=0.0):
    payloads = [dict(zip(("a", "b", "cos", "sin"), beat))
                for beat in zip(*(column.tolist() for column in vectors))]
    sent, sink = [], Recorder(dut.o, len(payloads), stall=stall)
    simulate(dut, source(dut.i, payloads, stall=stall, cycles=sent), sink.run)
    return ([list(beat.a) for beat in sink.payloads], [list(beat.b) for beat in sink.payloads],
            sink.cycles[-1] - sent[0])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    vectors = beats(config, 60)
    *got, took = run(Rope(config), vectors, stall)
    assert got == [words.tolist() for words in turn_pairs(config, *vectors)]
    assert stall or took == cycles(config, 2 * config.pairs * len(got[0]))


@pytest.mark.parametrize("act_format", ["int4", "int8"])
def test_a_head_of_the_exact_model(act_format):
    config = RopeConfig(extra_bits=extra_bits(act_format), form="dsp")
    cos, sin = rope_tables(9, 10, 10_000.0)
    x = np.random.default_rng(2).integers(-9000, 9000, 10)
    pairs = [half[:, None] for half in (*np.split(x, 2), cos[8], sin[8])]
    a, b, _ = run(Rope(config), pairs)
    assert [*a, *b] == rope(x, cos[8], sin[8], config.extra_bits)[:, None].tolist()


def test_ties_go_to_the_even_word():
    config = RopeConfig(form="dsp")
    a = np.arange(-5, 6)[:, None]
    half = np.full_like(a, 1 << config.dropped_bits - 1)
    got, _, _ = run(Rope(config), [a, 0 * a, half, 0 * a])
    assert [word for word, in got] == [-2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2]


@pytest.mark.parametrize(("config", "latency"), list(zip(CONFIGS, [6, 6, 4])), ids=str)
def test_latency_is_pinned(config, latency):
    assert config.latency == latency


def test_the_other_direction_is_noticed():
    config = RopeConfig(form="dsp")
    a, b, cos, sin = beats(config, 60)
    *got, _ = run(Rope(config), [a, b, cos, -sin])
    assert got != [words.tolist() for words in turn_pairs(config, a, b, cos, sin)]


def test_tables_agree_with_the_golden_model():
    assert RopeConfig().table_fraction_bits == TABLE_FRACTION_BITS


@pytest.mark.parametrize(("wrong", "name"), [({"pairs": 0}, "pairs"),
                                             ({"extra_bits": 14}, "extra_bits"),
                                             ({"rows_per_stage": 0}, "rows_per_stage")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        RopeConfig(**wrong)


@cache
def device(config):
    return Device(Rope(config))


@settings(max_examples=40, deadline=None)
@given(drawn=st.lists(st.tuples(signed_words(22), signed_words(22), signed_words(16),
                                signed_words(16)), min_size=1, max_size=12), stall=STALLS)
def test_any_beats(drawn, stall):
    vectors = [np.array(column)[:, None] for column in zip(*drawn)]
    *got, took = run(device(CONFIGS[1]), vectors, stall)
    assert got == [words.tolist() for words in turn_pairs(CONFIGS[1], *vectors)]
    assert stall or took == cycles(CONFIGS[1], 2 * len(drawn))


@pytest.mark.parametrize(("name", "broken"), [
    ("Mux", lambda _fits, rounded, _limit: rounded), ("Multiplier", Late)],
    ids=["no_saturation", "late_products"])
def test_a_planted_bug_is_noticed(monkeypatch, name, broken):
    monkeypatch.setattr(unit, name, broken)
    config = RopeConfig(form="dsp")
    vectors = beats(config, 60)
    *got, _ = run(Rope(config), vectors)
    assert got != [words.tolist() for words in turn_pairs(config, *vectors)]
