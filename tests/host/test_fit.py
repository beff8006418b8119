# SPDX-License-Identifier: Apache-2.0
"""What a model takes of an accelerator: cycles of a token and what bounds them."""

from dataclasses import replace

import numpy as np
import pytest

from golden_model.cycles.facts import facts_of
from golden_model.exact import ExactDecoder
from golden_model.presets import preset
from host.compile.compiler import compile_model
from host.demo import MODEL, read_model
from host.fit import fit_report
from host.token_cycles import TokenCycles
from host.token_report import SHAPES, token_row

WEIGHTS = read_model(MODEL)
CONFIG = preset("ulx3s")


@pytest.fixture(scope="module")
def report():
    return fit_report(WEIGHTS, CONFIG)


def test_bounds_are_what_is_read_and_multiplied(report):
    shape = WEIGHTS.shape
    # Wqkv, gates, half of Wo, of Wup and of Wdown; three planes of the head; a row of them.
    weights = shape.layers * (256 * 128 + 384 * 128 + 64 * 128 + 2 * 192 * 128) // 128 + 1536 + 6
    assert report["bounds"] == {"weights": weights, "compute": weights + 1536,
                                "kv": 6 * 2 * 128 * 1}
    assert (report["bound_by"], report["bound_cycles"]) == ("compute", weights + 1536)


def test_a_tokens_cycles_are_its_instructions(report):
    rows = report["roofline"]
    assert {row["instruction"]: row["times"] for row in rows} == {
        "embed": 1, "quantise": 13, "attend": 6, "output": 6, "feed_forward": 6, "head": 1,
        "end": 1}
    between = report["cycles_per_token"] - sum(row["cycles"] for row in rows)
    # The first instruction's way from the image, the end of the run, the loop.
    assert 8 < between < 20
    assert all(row["cycles"] >= max(row["weights"], row["compute"], row["kv"]) for row in rows)
    assert report["over_bound"] == round(report["cycles_per_token"] / report["bound_cycles"], 3)
    assert report["tokens_per_second"] == round(50e6 / report["cycles_per_token"], 1)


def test_a_text_has_the_cycles_of_its_tokens():
    tokens = [1, 14, 270, 261]
    model = TokenCycles(CONFIG, WEIGHTS)
    found = model.read(tokens, 2)
    assert found[0] < found[2]   # nobody wants the first one's successor
    capture = {}
    ExactDecoder(WEIGHTS, window=CONFIG.window).forward(np.array(tokens), capture)
    assert found[3] == model.model.token(facts_of(CONFIG.decoder, capture, 4, token=3))
    steps = model.instructions(tokens, 2)
    assert [len(each) for each in steps] == [31, 34, 34, 34]
    image, _ = compile_model(WEIGHTS, CONFIG.decoder, "0" * 16)
    assert [each.name for each in steps[1]] == [each.name for each in image.program]


def test_a_shape_takes_what_a_model_of_it_takes():
    shape, on, shares = SHAPES["demo"]
    assert (shape, on) == (WEIGHTS.shape, CONFIG.name)
    row = token_row(CONFIG, shape, shares, rows=40)
    assert sum(part["times"] for part in row["roofline"]) == 34
    whole = {name: sum(part[name] for part in row["roofline"]) for name in row["bounds"]}
    assert whole == row["bounds"]
    text = TokenCycles(CONFIG, WEIGHTS).read(list(range(40)), 1)[-1]
    assert row["cycles_per_token"] == pytest.approx(text, rel=0.05)


def test_a_batch_takes_memory_and_says_what_a_prompt_token_takes(report):
    batched = replace(CONFIG, array=replace(CONFIG.array, batch=2))
    one, two = report, fit_report(WEIGHTS, batched)
    memory = [next(limit["needed"] for limit in each["limits"]
                   if limit["name"] == "memory, bits") for each in (one, two)]
    assert memory[1] - memory[0] == batched.decoder.chunk_bits > 0
    assert CONFIG.decoder.chunk_bits == 0
    assert ("batch" in one, two["batch"]) == (False, 2)
    assert two["cycles_per_prompt_token"] < two["cycles_per_token"]   # without a head
