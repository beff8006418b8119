# SPDX-License-Identifier: Apache-2.0
"""The decoder core against the exact model: every logit and token of sequences that it runs."""

import dataclasses

import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ArrayConfig, ModelShape, Numerics
from golden_model.cycles.facts import facts_of
from golden_model.decoder_config import DecoderConfig
from golden_model.exact import ExactDecoder
from golden_model.head.sampler import draw
from golden_model.instruction_config import OPCODES
from golden_model.weights import random_weights
from host.demo import MODEL, read_model
from hw.decoder import Decoder
from tests.hw.decoding import Runner, compare
from tests.mutants import mutant

SHAPE = ModelShape(vocab=50, hidden=64, ffn=96, layers=2, heads=4, kv_heads=2, head_dim=16,
                   context=40)
WINDOW = 8
WEIGHTS = random_weights(SHAPE, Numerics(), seed=3)
CONFIG = DecoderConfig(
    array=ArrayConfig(rows=4, lanes=16, max_k=64, max_m=256), max_hidden=64, max_ffn=128,
    max_vocab=64, pending=64, attention=CachedAttentionConfig.of(
        SHAPE, Numerics(), lanes=16, queries=2, window=WINDOW, slots=2, beat=4))


@pytest.fixture(scope="module")
def runner():
    return Runner(WEIGHTS, CONFIG)


def restart(runner):
    runner.open()
    return ExactDecoder(WEIGHTS, window=WINDOW)


def test_every_logit_token_and_cycle_is_the_models(runner):
    """Two sequences take turns, each longer than the window."""
    runner.open()
    exact = [ExactDecoder(WEIGHTS, window=WINDOW) for _ in range(2)]
    tokens = np.random.default_rng(1).integers(0, SHAPE.vocab, (2, 2 * WINDOW + 3))
    for position in range(tokens.shape[1]):
        for slot in range(2):
            token, capture = int(tokens[slot, position]), {}
            step, logits = (runner.step(token, position, slot),
                            exact[slot].forward([token], capture)[0])
            assert step.logits == logits.tolist(), (position, slot)
            assert step.cycles == runner.expect(
                capture, min(position + 1, WINDOW),
                wait=0 if position or slot else runner.opening()), (position, slot)
            assert step.token == int(np.argmax(logits))
            assert runner.logit_scale() == float(exact[slot].logit_scale[0])


def test_a_token_without_successor_leaves_the_head_out(runner):
    exact = restart(runner)
    prompt = [7, 49, 0, 13]
    steps = [runner.step(token, n, skip_head=n < 3) for n, token in enumerate(prompt)]
    assert [step.token for step in steps[:-1]] == [None] * 3
    for n, token in enumerate(prompt):
        capture = {}
        logits = exact.forward([token], capture)[0].tolist()
        assert steps[n].cycles == runner.expect(capture, n + 1, skip_head=n < 3,
                                                wait=0 if n else runner.opening())
    assert steps[-1].logits == logits


def test_a_token_is_drawn_as_the_model_draws_it(runner):
    exact, unit, state = restart(runner), smallfloat.from_float(2.0 ** 8 / 0.7), 5
    runner.sample(unit, state)
    for position, token in enumerate([3, 8, 31]):
        capture = {}
        step, logits = runner.step(token, position), exact.forward([token], capture)[0]
        wanted, state = draw(logits, exact.logit_scale[0], unit, state)
        assert (step.token, runner.dut.get("random_state")) == (wanted, state)
        # Settings are given a cycle ahead of the first token.
        assert step.cycles == runner.expect(capture, position + 1, drawn=wanted,
                                            wait=0 if position else runner.opening() - 1)
    runner.sample(None, 1)


def test_instructions_take_as_many_cycles_as_the_model_says(runner):
    exact = restart(runner)
    for position, token in enumerate([11, 5, 30]):
        capture = {}
        exact.forward([token], capture)
        expected = runner.model.instructions(facts_of(CONFIG, capture, position + 1))
        phases = [phase for phase in runner.step(token, position).phases if phase[0]]
        late = phases[0][1] - expected[0].first
        assert late == (0 if position else runner.opening())
        assert [(opcode, first - late) for opcode, first in phases] == [
            (OPCODES[each.name], each.first) for each in expected[:-1]]


def test_a_token_outside_the_vocabulary_is_told_and_runs_as_token_0(runner):
    exact = restart(runner)
    step = runner.step(50, 0)
    assert step.outside == 1
    assert step.logits == exact.forward([0])[0].tolist()
    assert runner.step(49, 1).outside == 0


def test_an_opcode_that_there_is_not_ends_the_token(runner):
    restart(runner)
    header = runner.image.header
    beat = int.from_bytes(runner.image.beats[header["program"]].tobytes(), "little")
    runner.write(header["program"], beat & ~0xF | len(OPCODES))
    assert runner.step(1, 0, skip_head=True).fault == 1
    assert runner.dut.get("lengths") == 0
    runner.write(header["program"], beat)
    exact = ExactDecoder(WEIGHTS, window=WINDOW)
    step = runner.step(1, 0)
    assert (step.fault, step.logits) == (0, exact.forward([1])[0].tolist())


def test_every_busy_cycle_is_counted_once(runner):
    restart(runner)
    step = runner.step(1, 0)
    assert sum(step.counts.values()) == step.busy < step.cycles
    # Wqkv and gates of each layer, then three planes of the embedding; the rest depends on data.
    assert step.counts["weight_beats"] > SHAPE.layers * (128 + 96) + 3 * 52
    assert all(step.counts.values())


def test_configurations_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match=r"lanes must be a multiple of array\.rows"):
        DecoderConfig(array=ArrayConfig(rows=8, lanes=16), attention=CONFIG.attention, lanes=4)
    with pytest.raises(ValueError, match=r"attention\.beat must be lanes"):
        DecoderConfig(array=CONFIG.array, attention=CONFIG.attention, lanes=8)
    with pytest.raises(ValueError, match="digit_bits must be at least 5"):
        DecoderConfig(array=ArrayConfig(rows=4, lanes=16, digit_bits=4, acc_bits=24),
                      attention=CONFIG.attention)


@pytest.mark.slow
@pytest.mark.parametrize(("kv_code", "grouped"), [
    ("midrise", True), ("minmax", True), ("symmetric", False)])
def test_other_codes_and_heads_that_come_kv_head_by_kv_head(kv_code, grouped):
    numerics = Numerics(kv_code=kv_code)
    config = dataclasses.replace(CONFIG, attention=CachedAttentionConfig.of(
        SHAPE, numerics, lanes=16, queries=2, window=WINDOW, beat=4, grouped=grouped, form="dsp"))
    weights = random_weights(SHAPE, numerics, seed=3)
    _, wrong, late = compare(Runner(weights, config), weights, [1, 2, 3], WINDOW)
    assert (wrong, late) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), [
    ('"top_k": 1,', '"top_k": 0,'),
    ('"passes": 2}', '"passes": 2, "when": 1}'),
    ("m.d.sync += two.eq(int8)", "m.d.sync += two.eq(0)"),
])
def test_planted_bugs_are_seen(old, new):
    runner = Runner(WEIGHTS, CONFIG, mutant(Decoder, old, new), patience=20_000)
    try:
        _, wrong, _ = compare(runner, WEIGHTS, [1, 2, 3], WINDOW)
    except AssertionError:
        return   # it hangs
    assert wrong


@pytest.mark.slow
def test_readers_in_another_order_are_seen_by_their_cycles():
    """Gains that go ahead of the gates' weights change no value."""
    runner = Runner(WEIGHTS, CONFIG, mutant(
        Decoder, "zip(READERS, zip(self.hub.i_request",
        "zip(READERS[:3] + READERS[4:5] + READERS[3:4] + READERS[5:], zip(self.hub.i_request"))
    _, wrong, late = compare(runner, WEIGHTS, [1, 2, 3], WINDOW)
    assert (wrong, late) == (0, 3)


@pytest.mark.slow
def test_the_shipped_model_runs_past_its_window():
    weights = read_model(MODEL)
    config = DecoderConfig(
        array=ArrayConfig(rows=2, lanes=64), lanes=8, max_hidden=256, max_ffn=1024, max_vocab=512,
        attention=CachedAttentionConfig.of(weights.shape, weights.numerics, lanes=32, queries=2,
                                           window=32, beat=8))
    tokens = np.random.default_rng(2).integers(0, weights.shape.vocab, 40)
    _, wrong, late = compare(Runner(weights, config), weights, tokens, 32)
    assert (wrong, late) == (0, 0)
