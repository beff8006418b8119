# SPDX-License-Identifier: Apache-2.0
"""Cycles of a token, pinned: the RTL has the same in tests/hw/test_decoder.py."""

from itertools import pairwise

import numpy as np
import pytest

from golden_model.config import config_hash
from golden_model.cycles.engine import ArrayRun
from golden_model.cycles.facts import LayerFacts, TokenFacts, facts_of
from golden_model.cycles.head import STEADY, head, long_head
from golden_model.cycles.shapes import bounds, random_facts, shape_program
from golden_model.cycles.token import DecoderCycles
from golden_model.exact import ExactDecoder
from golden_model.instruction_config import FIELDS
from golden_model.mac.tile_loader import Command
from golden_model.presets import preset
from host.compile.compiler import compile_model
from host.demo import MODEL, read_model
from tests.hw.test_decoder import CONFIG, SHAPE, WEIGHTS, WINDOW

GEOMETRIC = {"n", "tiles", "table_beats", "table_words", "gain_beats", "format", "blocks",
             "up_blocks", "beats", "heads", "kv_heads", "words", "passes", "shared", "keep",
             "gate_beats", "down_blocks", "vocab"}
"""Fields that a shape decides."""


PINNED = [("embed", 44), ("quantise", 80), ("attend", 290), ("output", 175), ("quantise", 80),
          ("feed_forward", 313), ("quantise", 80), ("attend", 290), ("output", 175), ("quantise",
          80), ("feed_forward", 316), ("quantise", 83), ("head", 329), ("end", 1)]
SHIPPED_LAYER = [("quantise", 110), ("attend", 394), ("output", 253), ("quantise", 110),
                 ("feed_forward", 876)]
SHIPPED_REST = [("embed", 52), ("quantise", 111), ("head", 3088), ("end", 1)]


def compiled(weights, config):
    image, _ = compile_model(weights, config, config_hash(config))
    return image.program, DecoderCycles(config, image.program, image.header["head_instructions"])


def facts(weights, config, tokens, window):
    capture = {}
    ExactDecoder(weights, window=window).forward(np.array(tokens), capture)
    return [facts_of(config, capture, min(place + 1, window), token=place)
            for place in range(len(tokens))]


@pytest.fixture(scope="module")
def small():
    return compiled(WEIGHTS, CONFIG)


def test_facts_count_beats_of_each_token():
    found = facts(WEIGHTS, CONFIG, [3, 8], WINDOW)
    assert [one.rows for one in found] == [1, 2]
    layer = found[1].layers[0]
    assert (len(layer.output), len(layer.gates), len(layer.down)) == (16, 24, 24)
    assert sum(layer.output) <= SHAPE.q_dim // 2
    assert sum(layer.down) <= sum(map(len, layer.gates)) < SHAPE.ffn
    assert all(lane < CONFIG.array.rows for lanes in layer.gates for lane in lanes)


def test_a_small_models_instructions_are_pinned(small):
    _, model = small
    one = facts(WEIGHTS, CONFIG, [11, 5, 30], WINDOW)[2]
    found = model.instructions(one)
    assert [(each.name, each.cycles) for each in found] == PINNED
    assert model.token(one) == found[-1].last + 4
    assert all(after.first == now.last + 1 for now, after in pairwise(found))


def test_a_token_without_a_successor_ends_ahead_of_the_head(small):
    _, model = small
    one = facts(WEIGHTS, CONFIG, [11], WINDOW)[0]
    whole, short = model.instructions(one), model.instructions(one, skip_head=True)
    assert short[:-1] == whole[:len(short) - 1]
    # No instruction is fetched ahead of its weights.
    assert short[-1].name == "feed_forward"
    assert short[-1].last == whole[len(short) - 1].last - CONFIG.sequencer.beats


def test_waiting_and_drawing_are_added(small):
    _, model = small
    one = facts(WEIGHTS, CONFIG, [11], WINDOW)[0]
    assert model.token(one, wait=5) == model.token(one) + 5
    drawn = [model.token(one._replace(drawn=token)) for token in (0, 7)]
    assert drawn[1] - drawn[0] == 7
    assert drawn[0] > model.token(one) + SHAPE.vocab


def test_a_longer_cache_and_more_active_gates_take_longer(small):
    _, model = small
    one = facts(WEIGHTS, CONFIG, [11], WINDOW)[0]
    rows = [model.token(one._replace(rows=rows)) for rows in range(1, WINDOW + 1)]
    assert rows == sorted(rows)
    lanes = CONFIG.array.rows
    none, every = (TokenFacts(tuple(LayerFacts(layer.output, (gate,) * len(layer.gates), layer.down)
                                    for layer in one.layers), 1)
                   for gate in ((), tuple(range(lanes))))
    assert model.token(none) < model.token(one) < model.token(every)


def test_a_long_head_goes_on_as_it_began():
    """Stepped as a whole, and from its first blocks on."""
    rows = CONFIG.array.rows
    for vocab, scaled in ((rows * (STEADY + 9) + 3, 0), (rows * STEADY - 1, 90)):
        def compute(tokens, scaled=scaled):
            run = ArrayRun(CONFIG, Command(3 * -(-tokens // rows), 2, 2), 4, 0, 4)
            return head(CONFIG, tokens, run, 0, scaled, False)
        assert long_head(compute, vocab, rows) == compute(vocab)


def test_a_shapes_program_is_the_compilers(small):
    program, _ = small
    found = shape_program(SHAPE, WEIGHTS.numerics, CONFIG)
    assert [each.name for each in found] == [each.name for each in program]
    for mine, theirs in zip(found, program):
        for field in GEOMETRIC & set(FIELDS[mine.name]):
            assert mine.fields[field] == theirs.fields[field], (mine.name, field)


def test_bounds_of_a_shape(small):
    _, model = small
    program = shape_program(SHAPE, WEIGHTS.numerics, CONFIG)
    some = random_facts(SHAPE, CONFIG, {"wo": 0.5, "up": 0.25, "down": 0.25}, 8)
    least = bounds(CONFIG, program, some)
    # A layer: Wqkv, gates, half of Wo's and a quarter of Wup's and Wdown's columns.
    weights = 2 * (32 * 4 + 24 * 4 + 32 + 24 + 24) + 3 * 13 * 4 + 3 * 4
    assert least == (weights, weights + 3 * 13 * 4, 2 * 2 * 8)
    assert least.binds == "compute"
    assert max(least) < model.token(some)


def test_the_shipped_models_instructions_are_pinned():
    config, weights = preset("ulx3s").decoder, read_model(MODEL)
    _, model = compiled(weights, config)
    found = model.instructions(facts(weights, config, [1, 14, 270], 128)[2])
    layer = [(each.name, each.cycles) for each in found[1:6]]
    assert layer == SHIPPED_LAYER
    assert [(each.name, each.cycles) for each in (found[0], *found[-3:])] == SHIPPED_REST
