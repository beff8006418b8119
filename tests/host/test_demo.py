# SPDX-License-Identifier: Apache-2.0
"""The demo: what it sends, what it predicts, what it says of a difference."""

import dataclasses
import itertools
import time

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.exact import ExactDecoder
from golden_model.mac.ternary_array import array_cycles
from golden_model.presets import preset
from golden_model.weights import random_weights
from host.demo import (
    HELD_OUT,
    MODEL,
    decode,
    layer_runs,
    load_tokens,
    predict,
    read_model,
    summarize,
)
from host.errors import UserError
from sim.array_jobs import JobResult

TINY = preset("tiny")
SHAPE = ModelShape(vocab=9, hidden=20, ffn=36, layers=2, heads=2, kv_heads=1, head_dim=10,
                   context=8)


@pytest.fixture(scope="module")
def runs():
    weights = random_weights(SHAPE, Numerics(), seed=1)
    return layer_runs(decode(weights, np.arange(5), 2), blocks=2, count=3)


def perfect(runs):
    """Results of a simulation in which all is well."""
    ends = predict(TINY, runs)
    return [JobResult(sums=run.sums.tolist(), first_beat=0, last_beat=0, busy=1, outputs=[end],
                      predicted=[end]) for run, end in zip(runs, ends, strict=True)]


def test_every_product_of_every_token_is_sent_with_the_sums_of_the_decoder(runs):
    assert [run.name.rpartition(".")[2] for run in runs[:7]] == [
        "wq", "wk", "wv", "wo", "gate", "up", "down"]
    assert len(runs) == 3 * 2 * 7
    for run in runs:
        expected = run.job.trits.astype(int) @ run.job.codes.astype(int)
        assert np.array_equal(expected, run.sums), run.name


def test_activations_are_sent_once_for_projections_that_share_them(runs):
    for before, run in itertools.pairwise(runs):
        if run.job.reuse:
            assert np.array_equal(before.job.codes, run.job.codes), run.name
    assert [run.job.reuse for run in runs[:7]] == [False, True, True, False, False, True, False]


def test_predicted_cycles_of_one_product_are_the_closed_form(runs):
    for run in (runs[0], runs[3], runs[6]):
        m, k = run.job.trits.shape
        assert predict(TINY, [run]) == [array_cycles(TINY.array, m, k, run.job.digits) - 1]


def test_all_is_well(runs):
    rows = summarize(TINY.array, runs, perfect(runs), predict(TINY, runs))
    assert len(rows) == 14
    assert all(row.passed and row.tokens == 3 for row in rows)
    assert sum(row.cycles for row in rows) == predict(TINY, runs)[-1] + 1


def test_one_wrong_sum_or_one_late_cycle_is_told(runs):
    results = perfect(runs)
    results[4] = dataclasses.replace(results[4], sums=[results[4].sums[0] + 1,
                                                       *results[4].sums[1:]])
    results[-1] = dataclasses.replace(results[-1], outputs=[results[-1].outputs[0] + 1])
    rows = {row.layer: row for row in summarize(TINY.array, runs, results, predict(TINY, runs))}
    assert not rows["layers.0.gate"].equal
    assert rows["layers.1.down"].equal
    assert not rows["layers.1.down"].passed
    assert sum(row.passed for row in rows.values()) == 12


def test_the_shipped_model_and_its_tokens_fit_each_other():
    weights, tokens = read_model(MODEL), load_tokens(HELD_OUT, 40)
    assert tokens.shape == (40,)
    assert 0 <= tokens.min() <= tokens.max() < weights.shape.vocab
    assert MODEL.stat().st_size <= 2_000_000


def test_asking_for_too_much_names_the_limit(tmp_path):
    weights = random_weights(SHAPE, Numerics(), seed=1)
    with pytest.raises(UserError, match=r"--blocks must lie in 1\.\.2"):
        decode(weights, np.arange(4), 3)
    with pytest.raises(UserError, match="--tokens asks for 1000"):
        load_tokens(HELD_OUT, 1000)
    with pytest.raises(UserError, match="cannot be read as held-out tokens"):
        load_tokens(tmp_path / "none", 4)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "none.safetensors"], "none.safetensors: No such file"),
    (["--preset", "icebreaker", "--dense", "-c", "array.max_k=64"],
     "raise array.max_k or array.max_m"),
    (["--blocks", "7"], "--blocks must lie in 1..6"),
    (["--preset", "icebreaker"], "is an array alone: add --dense"),
    (["--simulator", "verilater"], "did you mean 'verilator'"),
])
def test_mistakes_end_with_code_2_and_no_traceback(tritforge, arguments, message):
    run = tritforge("layers", *arguments)
    assert run.code == 2
    assert message in run.err
    assert "Traceback" not in run.err


@pytest.mark.cocotb
def test_a_block_of_the_trained_model_runs_exactly(tritforge):
    run = tritforge("layers", "--preset", "tiny", "-c", "units.form=dsp", "--tokens", "1", "--json")
    assert run.code == 0, run.err
    document = run.document
    assert document["passed"]
    assert document["cycles"] == document["predicted"] == sum(
        row["cycles"] for row in document["layers"])
    assert [row["layer"].rpartition(".")[2] for row in document["layers"]] == [
        "wq", "wk", "wv", "wo", "ffn"]
    wo, ffn = document["layers"][3:]
    assert wo["fetched"] <= 0.5
    shares = {product["product"]: product["fetched"] for product in ffn["products"]}
    assert shares["gate"] == 1
    assert max(shares["up"], shares["down"]) < 0.8


@pytest.mark.cocotb
@pytest.mark.slow
def test_all_seven_products_run_on_the_array(tritforge):
    run = tritforge("layers", "--preset", "tiny", "--tokens", "1", "--dense", "--json")
    assert run.code == 0, run.err
    assert run.document["passed"]
    assert [row["layer"].rpartition(".")[2] for row in run.document["layers"]] == [
        "wq", "wk", "wv", "wo", "gate", "up", "down"]
    assert {row["unit"] for row in run.document["layers"]} == {"array"}


def test_the_exact_decoder_keeps_up():
    """At least 20 tokens a second of processor time, one at a time."""
    decoder = ExactDecoder(read_model(MODEL))
    tokens = load_tokens(HELD_OUT, 40)
    start = time.process_time()
    for token in tokens:
        decoder.forward([token])
    assert len(tokens) / (time.process_time() - start) >= 20
