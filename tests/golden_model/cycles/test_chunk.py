# SPDX-License-Identifier: Apache-2.0
"""Cycles of chunks, pinned: the RTL has the same in tests/hw/control and tests/sim."""

from dataclasses import replace

import pytest

from golden_model.cycles.token import DecoderCycles
from golden_model.presets import preset
from host.demo import MODEL, read_model
from host.token_cycles import TokenCycles
from tests.golden_model.cycles.test_token import compiled, facts
from tests.hw.test_decoder import CONFIG, WEIGHTS, WINDOW

TOKENS = [11, 5, 30, 7]
PINNED = [("embed", 170), ("quantise", 416), ("attend", 1469), ("output", 700), ("quantise", 416),
          ("feed_forward", 1222)]


def batched(config, batch):
    """Return a decoder's configuration with a batch."""
    cache = replace(config.attention.cache, batch=batch)
    return replace(config, array=replace(config.array, batch=batch),
                   attention=replace(config.attention, cache=cache))


@pytest.fixture(scope="module")
def model():
    return compiled(WEIGHTS, batched(CONFIG, 4))[1]


@pytest.fixture(scope="module")
def tokens():
    return facts(WEIGHTS, CONFIG, TOKENS, WINDOW)


def test_a_chunks_instructions_are_pinned(model, tokens):
    found = model.instructions(*tokens)
    assert [(each.name, each.cycles) for each in found[:6]] == PINNED
    assert model.chunk(tokens) == found[-1].last + 4
    # Only the last one's successor is made.
    assert found[-2].cycles == model.instructions(tokens[-1])[-2].cycles


def test_chunks_share_what_the_array_reads_and_no_cycle_of_its_products(model, tokens):
    """With a beat in every cycle there is nothing to wait for, and so nothing to win."""
    chunks = [model.chunk(tokens[:count], skip_head=True) for count in range(1, 5)]
    assert chunks == sorted(chunks)
    single = compiled(WEIGHTS, CONFIG)[1]
    alone = [single.token(one, skip_head=True) for one in tokens]
    assert 0.9 * sum(alone) < chunks[-1] < 1.2 * sum(alone)


def test_one_token_costs_no_more_than_its_stores(model, tokens):
    """In `attend` its words go through one ahead of the next instruction, not into it."""
    single = compiled(WEIGHTS, CONFIG)[1]
    assert [model.token(one) - single.token(one) for one in tokens] == [34, 36, 38, 38]


def test_a_text_is_read_in_chunks():
    config = replace(preset("ulx3s"), array=replace(preset("ulx3s").array, batch=4))
    cycles = TokenCycles(config, read_model(MODEL))
    read = [1, 14, 270, 261, 80, 7, 3]
    found = cycles.read(read, 6)
    assert [(len(chunk), skip) for chunk, skip in cycles.chunks(read, 6)] == [
        (4, True), (2, False), (1, False)]
    facts_ = cycles.facts(read, 6)
    model = DecoderCycles(config.decoder, cycles.model.program, 3)
    assert found == [model.chunk(facts_[:4], skip_head=True), model.chunk(facts_[4:6]),
                     model.token(facts_[6])]
    assert [len(each) for each in cycles.instructions(read, 6)] == [31, 34, 34]
