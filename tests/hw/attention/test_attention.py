# SPDX-License-Identifier: Apache-2.0
from typing import NamedTuple

import numpy as np
import pytest

from golden_model.attention.attention import attention_cycles, score_scale_of
from golden_model.attention_config import AttentionConfig
from golden_model.config import ModelShape, Numerics
from hw.attention import attention as unit
from hw.attention.attention import Attention
from hw.attention.softmax import Softmax
from hw.attention.weighted_sum import WeightedSum
from sim.simulator import run_cycles
from tests.hw.attention.tokens import (
    UNIT,
    WithUnits,
    captured_token,
    demo_calls,
    extreme_token,
    query_payloads,
    random_token,
    row_payloads,
    small,
)


class Model(NamedTuple):
    """Heads, KV heads and head_dim of a model; lanes and queries of its attention."""

    heads: int
    kv_heads: int
    head_dim: int
    lanes: int
    queries: int

    def config(self, window):
        shape = ModelShape(vocab=2, hidden=2, ffn=2, layers=3, heads=self.heads,
                           kv_heads=self.kv_heads, head_dim=self.head_dim, context=window)
        return AttentionConfig.of(shape, Numerics(), lanes=self.lanes, queries=self.queries,
                                  window=window, form="dsp")


MODELS = [Model(4, 2, 32, 32, 2), Model(4, 2, 8, 8, 1), Model(4, 1, 16, 8, 4),
          Model(2, 2, 12, 8, 1)]
LARGE = [Model(2, 1, 64, 64, 2), Model(2, 1, 100, 64, 1), Model(4, 1, 128, 32, 2),
         Model(2, 2, 100, 32, 1)]


def run(model, tokens, window, stall=0.0):
    """Check sums, scales and reads of one command a token; return the cycle of every result."""
    config = model.config(window)
    group = model.heads // model.kv_heads
    words, beats = -(-model.head_dim // model.lanes), -(-model.head_dim // config.beat)
    sources = {name: [] for name in ("i_command", "i_query", "i_query_scale", "i_key", "i_value")}
    sums, scales, reads = [], [], []
    for number, token in enumerate(tokens):
        first = number % 3 * model.kv_heads
        sources["i_command"].append({
            "passes": model.heads // model.queries, "shared": group // model.queries,
            "slot": 0, "stream": first, "beats": beats, "words": words,
            "score_scale": small(score_scale_of(model.head_dim))})
        sources["i_query"] += query_payloads(config, token.q)
        sources["i_query_scale"] += small(token.q_scale)
        for head in range(0, model.heads, model.queries):
            kv = head // group
            reads.append((0, first + kv))
            sources["i_key"] += row_payloads(config, token.keys[kv], token.key_scale[kv],
                                             token.value_scale[kv])
            sources["i_value"] += row_payloads(config, token.values[kv])
        expected, scale = token.expected(config)
        sums += expected.reshape(-1, config.beat).tolist()
        scales += small(scale)
    got = run_cycles(WithUnits(Attention(config)), sources, {
        "o": len(sums), "o_scale": len(scales), "o_key_read": len(reads),
        "o_value_read": len(reads)}, stall=stall, rng=np.random.default_rng(9))
    lasts = [int(n % beats == beats - 1) for n in range(len(sums))]
    for name in ("o_key_read", "o_value_read"):
        assert [(p.slot, p.stream) for _, p in got[name]] == reads
    return ([(list(p.sums), p.last) for _, p in got["o"]],
            [{"m": p.m, "e": p.e} for _, p in got["o_scale"]]), (
        list(zip(sums, lasts)), scales), [cycle for cycle, _ in got["o"]], [
        cycle for cycle, _ in got["o_scale"]]


def tokens(model, rows, seed=0):
    rng = np.random.default_rng(seed)
    return [random_token(rng, *model[:3], count) for count in rows]


@pytest.mark.parametrize("model", [
    *(pytest.param(model, marks=pytest.mark.slow) for model in MODELS[:2]),
    pytest.param(MODELS[2], marks=pytest.mark.slow), MODELS[3]], ids=str)
def test_matches_golden_model_under_stalls(model):
    got, wanted, *_ = run(model, tokens(model, [1, 2, 7]), 7, 0.5)
    assert got == wanted


def test_many_passes_over_rows_of_three_words():
    """Values take longer than keys, so that codes of several passes wait."""
    model = Model(6, 2, 12, 4, 1)
    got, wanted, *_ = run(model, tokens(model, [3], seed=3), 4)
    assert got == wanted


@pytest.mark.slow
def test_commands_overlap():
    got, wanted, *_ = run(MODELS[1], tokens(MODELS[1], [7, 7, 1, 1, 8]), 8)
    assert got == wanted


@pytest.mark.slow
@pytest.mark.parametrize("model", LARGE, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_matches_golden_model_at_real_head_sizes(model, stall):
    got, wanted, *_ = run(model, tokens(model, [5, 1]), 5, stall)
    assert got == wanted


@pytest.mark.slow
def test_extremes():
    model = MODELS[1]
    got, wanted, *_ = run(model, [extreme_token(*model[:3], 9, kind=kind) for kind in (
        "highest", "lowest", "zero", "alike")], 9)
    assert got == wanted


@pytest.mark.parametrize(("model", "rows"), [
    pytest.param(MODELS[0], 17, marks=pytest.mark.slow),
    pytest.param(MODELS[2], 23, marks=pytest.mark.slow), (MODELS[3], 1), (MODELS[3], 6),
    pytest.param(LARGE[1], 4, marks=pytest.mark.slow)], ids=str)
def test_values_and_cycles_match_golden_model(model, rows):
    got, wanted, sums, scales = run(model, tokens(model, [rows]), rows + 1)
    assert got == wanted
    stated = attention_cycles(model.config(rows + 1), UNIT, heads=model.heads, rows=rows,
                              head_dim=model.head_dim)
    assert (sums, scales) == (stated.sums, stated.scales)


@pytest.mark.slow
@pytest.mark.parametrize("layer", [0, -1])
def test_matches_golden_model_on_rows_of_the_demo_model(layer):
    weights, calls = demo_calls(20, 12)
    shape = weights.shape
    queries = shape.heads // shape.kv_heads
    model = Model(shape.heads, shape.kv_heads, shape.head_dim, 32, queries)
    got, wanted, *_ = run(model, [captured_token(calls, weights.numerics, layer)], 12)
    assert got == wanted


class Shuffled(WeightedSum):
    """Sends the sums of a head in another order."""

    def choose(self, hold, slot, lane, head, group):
        return super().choose(hold, slot, lane, head, ~group)


class Forgetful(Softmax):
    """Reads the third stage's codes from the bank behind."""

    def encode(self, m, platform, released, weighing, at):
        self.read = [*self.read[1:], self.read[0]]
        super().encode(m, platform, released, weighing, at)


@pytest.mark.parametrize(("name", "broken"), [("WeightedSum", Shuffled), ("Softmax", Forgetful)])
def test_a_planted_bug_is_noticed(monkeypatch, name, broken):
    monkeypatch.setattr(unit, name, broken)
    got, wanted, *_ = run(MODELS[1], tokens(MODELS[1], [6]), 6)
    assert got != wanted


@pytest.mark.parametrize(("wrong", "name"), [
    ({"numerics": Numerics(kv_bits=16, bos_bits=16)}, "code_bits"), ({"queries": 3}, "queries"),
    ({"numerics": Numerics(kv_bits=3, bos_bits=8)}, "bos_bits"), ({"lanes": 7}, "lanes"),
    ({"window": 5000}, "max_rows"), ({"banks": 1}, "banks")])
def test_config_refuses(wrong, name):
    shape = ModelShape(vocab=2, hidden=2, ffn=2, layers=3, heads=4, kv_heads=2, head_dim=32,
                       context=16)
    options = {"numerics": Numerics(), "lanes": 32, "queries": 2, "window": 16, **wrong}
    with pytest.raises(ValueError, match=f"^{name} must"):
        AttentionConfig.of(shape, **options)


@pytest.mark.parametrize("name", ["max_heads", "slots", "streams", "max_words"])
def test_config_refuses_to_hold_nothing(name):
    with pytest.raises(ValueError, match=f"^{name} must be .* at least 1, not 0$"):
        AttentionConfig(**{name: 0})
