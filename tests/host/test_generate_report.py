# SPDX-License-Identifier: Apache-2.0
"""The RTL's own text and logits: long, so `make test-full` runs them."""

from pathlib import Path

import pytest

from golden_model.presets import preset
from host.backends.sim import SimBackend
from host.generate_report import DEMO, PROMPTS, TEMPERATURE, perplexity, texts
from host.model_file import load_model
from host.text import Vocabulary

pytestmark = [pytest.mark.cocotb, pytest.mark.slow]


@pytest.fixture(scope="module")
def backend():
    weights = load_model(DEMO / "model.safetensors")
    one = SimBackend(preset("ulx3s"))
    one.load(weights, preset("ulx3s").window)
    yield one
    one.close()


def test_256_tokens_of_8_prompts_are_the_golden_models(backend: SimBackend) -> None:
    weights = load_model(DEMO / "model.safetensors")
    rows = texts(weights, backend, Vocabulary(DEMO / "tokenizer.json"), 32)
    assert len(rows) == len(PROMPTS) == 8
    assert sum(len(row["tokens"]) for row in rows) == 256
    assert all(row["golden_equal"] for row in rows)
    assert all(row["cycles_equal"] for row in rows)
    assert [row["temperature"] for row in rows] == [None, TEMPERATURE] * 4
    for row in rows:
        gap = backend.config.token_loop.gap - 1
        reads = row["cycles_read"][-len(row["tokens"]) + 1:]
        # Tokens follow one another without a cycle that nobody accounts for.
        assert row["cycles_per_token"][1:] == [cycles + gap for cycles in reads]


def test_held_out_perplexity_is_the_exact_models(backend: SimBackend) -> None:
    found = perplexity(load_model(DEMO / "model.safetensors"), backend, 200)
    assert found["equal"]
    assert found["perplexity"] == found["perplexity_exact"]


def test_a_sequence_is_saved_and_goes_on(backend: SimBackend, tmp_path: Path) -> None:
    backend.reset()
    first = [backend.prefill([0, 5, 9])]
    first.append(backend.decode(first[-1]))
    state = backend.save()
    following = backend.decode(first[-1])
    backend.reset()
    backend.restore(state)
    assert backend.position == state.position == 4
    assert backend.decode(first[-1]) == following
