# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import C, Mux, Value

from golden_model.attention.score import Load, ScoreCycles, Word, scores
from golden_model.attention_config import ScoreConfig
from hw.attention import score as unit
from hw.attention.score import Score, zero_step
from sim.simulator import run_cycles
from tests.hw.attention.tokens import query_payloads, row_payloads

CONFIGS = [ScoreConfig(lanes=8, queries=2, max_words=2), ScoreConfig(lanes=4, beat=2),
           ScoreConfig(lanes=12, queries=3, max_words=4, beat=6, levels_per_stage=1),
           ScoreConfig(lanes=4, max_words=3),
           ScoreConfig(lanes=8, code_bits=4, bos_bits=4, query_bits=4, max_words=2),
           ScoreConfig(lanes=8, queries=2, max_words=2, kv_code="symmetric"),
           ScoreConfig(lanes=2, beat=2, kv_code="symmetric"),
           ScoreConfig(lanes=8, queries=2, max_words=2, kv_code="minmax"),
           ScoreConfig(lanes=4, code_bits=4, bos_bits=4, max_words=2, kv_code="minmax")]


def passes(config, seed=0):
    """Yield queries, codes and scales of passes; the first has the largest sums."""
    rng = np.random.default_rng(seed)
    low = -(1 << config.query_bits - 1)
    for number, (words, rows) in enumerate([
            (config.max_words, 3), (1, 1), (config.max_words, 5), (1, 4), (config.max_words, 2)]):
        n = words * config.lanes - (number % 3 if words > 1 else 0)
        q = rng.integers(low, -low, (config.queries, n))
        codes = rng.integers(0, 1 << config.code_bits, (rows, n))
        codes[0] = rng.integers(0, 1 << config.bos_bits, n)
        if number == 0:
            q[:], codes[0] = low, (1 << config.bos_bits) - 1
            codes[1], codes[2] = 0, (1 << config.code_bits) - 1
        scale = rng.integers(0, 1 << 16, rows)
        if config.kv_code == "minmax":  # zero points, the ends among them
            zeros = rng.integers(0, 1 << config.code_bits, rows)
            zeros[0] = rng.integers(0, 1 << config.bos_bits)
            if number == 0:
                zeros[:] = 0, (1 << config.code_bits) - 1, 0
            scale = (scale & ~15) + zeros
        yield q, codes, scale, rng.integers(0, 1 << 16, rows)


def run(config, stall, seed=1):
    """Payloads of the hardware and of the golden model; every handshake is checked."""
    commands, queries, rows, wanted = [], [], [], []
    for q, codes, scale, value_scale in passes(config):
        n = q.shape[1]
        commands.append({"beats": -(-n // config.beat), "words": -(-n // config.lanes)})
        queries += query_payloads(config, q)
        rows += row_payloads(config, codes, scale, value_scale)
        zeros = scale & 15 if config.kv_code == "minmax" else scale * 0
        wanted += [(s.tolist(), int(a), int(b), int(t == len(codes) - 1)) for t, (s, a, b) in
                   enumerate(zip(scores(config, q, codes, zeros), scale - zeros, value_scale))]
    model, at = ScoreCycles(config), [0, 0]

    def check(seen):
        offered = Load(**commands[at[0]]) if seen["i_command"][0] else None
        row = rows[at[1]] if seen["i_row"][0] else None
        word = row and Word(bool(row["bos"]), bool(row["last_word"]), bool(row["last"]))
        step = model.step(offered, bool(seen["i_query"][0]), word, bool(seen["o"][1]))
        taken = [all(seen[name]) for name in ("i_command", "i_query", "i_row")]
        assert (*taken, bool(seen["o"][0])) == step[:4]
        at[0] += taken[0]
        at[1] += taken[2]

    got = run_cycles(Score(config), {"i_command": commands, "i_query": queries, "i_row": rows},
                     {"o": len(wanted)}, stall=stall, rng=np.random.default_rng(seed), check=check)
    return [(list(p.sums), p.scale, p.value_scale, p.last) for _, p in got["o"]], wanted


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_matches_golden_model_in_value_and_cycle(config, stall):
    got, wanted = run(config, stall)
    assert got == wanted


def test_latency_is_pinned():
    assert [config.latency for config in CONFIGS] == [4, 4, 6, 4, 4, 4, 3, 4, 4]
    assert ScoreConfig(lanes=64).latency == 6


def test_a_bos_row_taken_for_another_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "split_bos", lambda config, code, fine, second: Value.cast(code)[:3])
    got, wanted = run(CONFIGS[0], 0.0)
    assert got != wanted


def test_sums_kept_from_the_row_before_are_noticed(monkeypatch):
    def keep(choice, left, right):
        return right if isinstance(left, int) and left == 0 and len(right) > 16 else Mux(
            choice, left, right)

    monkeypatch.setattr(unit, "Mux", keep)
    got, wanted = run(CONFIGS[2], 0.0)
    assert got != wanted


def test_a_pipeline_that_is_always_ready_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "vacant", lambda m, ahead, name, *, advance: C(1))
    with pytest.raises(AssertionError):
        run(CONFIGS[0], 0.5)


def test_a_zero_point_without_its_top_bit_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "zero_step", lambda config, scale, bos: step(
        config, scale & 7, bos))
    step = zero_step
    got, wanted = run(CONFIGS[7], 0.0)
    assert got != wanted


@pytest.mark.parametrize(("wrong", "name"), [
    ({"lanes": 6}, "lanes"), ({"queries": 0}, "queries"), ({"beat": 1}, "beat"),
    ({"beat": 3}, "beat"), ({"max_words": 0}, "max_words"), ({"bos_bits": 5}, "bos_bits"),
    ({"bos_bits": 2}, "bos_bits"), ({"kv_code": ""}, "kv_code")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        ScoreConfig(**wrong)
