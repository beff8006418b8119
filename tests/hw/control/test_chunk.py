# SPDX-License-Identifier: Apache-2.0
"""Whole chunks: tokens that share their weights against the same tokens one by one."""

from dataclasses import replace

import numpy as np
import pytest

from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import Numerics
from golden_model.cycles.facts import facts_of
from golden_model.decoder_config import DecoderConfig
from golden_model.exact import ExactDecoder
from golden_model.instruction_config import OPCODES
from hw.decoder import Decoder
from hw.kv.layouts import Operation
from tests.hw.decoding import Runner
from tests.hw.test_decoder import CONFIG, SHAPE, WEIGHTS, WINDOW
from tests.mutants import mutant

pytestmark = pytest.mark.slow   # one Verilation of a decoder

BATCH = 3
BATCHED = replace(
    CONFIG, array=replace(CONFIG.array, batch=BATCH), attention=CachedAttentionConfig.of(
        SHAPE, Numerics(), lanes=16, queries=2, window=WINDOW, slots=2, beat=4, grouped=True,
        batch=BATCH))
TOKENS = np.random.default_rng(4).integers(0, SHAPE.vocab, 3 * WINDOW).tolist()


@pytest.fixture(scope="module")
def runner():
    return Runner(WEIGHTS, BATCHED)


def captured(exact, tokens):
    """Capture of each of some tokens, and the last one's logits."""
    captures = [{} for _ in tokens]
    for token, capture in zip(tokens, captures, strict=True):
        logits = exact.forward([token], capture)[0]
    return captures, logits


def facts_from(captures, position):
    """Facts of tokens from a position on."""
    return [facts_of(BATCHED, capture, min(position + n + 1, WINDOW))
            for n, capture in enumerate(captures)]


def in_chunks(counts, tokens=TOKENS):
    """Tokens of each chunk and the position of its first."""
    position = 0
    for count in counts:
        yield tokens[position:position + count], position
        position += count


def check(runner, counts):
    """Run chunks in a slot; return how many logits, successors and cycles are not the models'."""
    runner.open()
    exact, wrong, late = ExactDecoder(WEIGHTS, window=WINDOW), 0, 0
    for tokens, position in in_chunks(counts):
        step = runner.step(tokens, position)
        captures, logits = captured(exact, tokens)
        wrong += step.logits != logits.tolist() or step.token != int(np.argmax(logits))
        late += step.cycles != runner.model.chunk(
            facts_from(captures, position), wait=0 if position else runner.opening())
    return wrong, late


@pytest.mark.parametrize("counts", [(3, 1, 3, 2, 3, 3), (1, 1, 2), (2, 2, 2, 2, 2, 2)], ids=str)
def test_values_and_cycles_of_chunks_are_the_models(runner, counts):
    """Past the window too: a row that a later token evicts is read by the earlier ones first."""
    assert check(runner, counts) == (0, 0)


def test_instructions_take_as_many_cycles_as_the_model_says(runner):
    runner.open()
    captures, _ = captured(ExactDecoder(WEIGHTS, window=WINDOW), TOKENS[:3])
    expected = runner.model.instructions(*facts_from(captures, 0))
    phases = [phase for phase in runner.step(TOKENS[:3], 0).phases if phase[0]]
    assert [(opcode, first - runner.opening()) for opcode, first in phases] == [
        (OPCODES[each.name], each.first) for each in expected[:-1]]


def saved(runner, slot, tokens):
    """Words that the cache saves of a slot."""
    words, dut = [], runner.dut
    dut.set("o_save__ready", 1)
    runner.control(Operation.SAVE, slot=slot)
    for _ in range(20_000):
        if dut.get("o_save__valid"):
            words.append(dut.get("o_save__payload"))
        if len(words) == tokens * runner.image.header["state_words"]:
            break
        dut.tick()
    dut.tick()
    dut.set("o_save__ready", 0)
    return words


def test_the_cache_is_that_of_single_tokens_and_weights_are_fetched_once(runner):
    """One slot reads in chunks, the other token by token."""
    runner.open()
    chunks = list(in_chunks((3, 3, 2)))
    beats = [0, 0]
    for tokens, position in chunks:
        beats[0] += runner.step(tokens, position, 0, skip_head=True).counts["weight_beats"]
        for n, token in enumerate(tokens):
            beats[1] += runner.step(token, position + n, 1,
                                    skip_head=True).counts["weight_beats"]
    held = [saved(runner, slot, 8) for slot in range(2)]
    assert held[0] == held[1]
    assert any(held[0])
    dense = sum(one.fields.get("beats", one.fields.get("gate_beats", 0))
                for one in runner.image.program if one.name in ("attend", "feed_forward"))
    shared = sum(len(tokens) - 1 for tokens, _ in chunks)
    assert beats[1] - beats[0] == shared * dense


def test_a_token_of_a_chunk_outside_the_vocabulary_runs_as_token_0(runner):
    runner.open()
    step = runner.step([7, 50, 9], 0)
    assert step.outside == 1
    assert step.logits == captured(ExactDecoder(WEIGHTS, window=WINDOW), [7, 0, 9])[1].tolist()


def test_the_batch_has_to_be_that_of_the_cache():
    with pytest.raises(ValueError, match=r"attention\.cache\.batch must be array\.batch \(3\)"):
        DecoderConfig(array=BATCHED.array, attention=CONFIG.attention)


@pytest.mark.parametrize(("old", "new"), [
    ('self.array.i_cmd, once=True, quantise={}', 'self.array.i_cmd, quantise={}'),
    ("m.d.sync += joined.now.eq(", "m.d.sync += joined.of(0).eq("),
])
def test_planted_bugs_are_seen(old, new):
    runner = Runner(WEIGHTS, BATCHED, mutant(Decoder, old, new), patience=20_000)
    try:
        wrong, late = check(runner, (3, 2))
    except AssertionError:
        return   # it hangs
    assert wrong or late
