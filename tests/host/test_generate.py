# SPDX-License-Identifier: Apache-2.0
"""Text on the CPU, and the golden model's judgement of it."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.weights import DecoderWeights, random_weights
from host.backends.base import Backend, BackendError
from host.backends.cpu import CpuBackend
from host.backends.sampling import GREEDY, Sampling
from host.generate import generate, golden_tokens

SHAPE = ModelShape(vocab=40, hidden=32, ffn=48, layers=2, heads=2, kv_heads=1, head_dim=16,
                   context=64)
DRAW = Sampling.of(0.9, 5)


@pytest.fixture(scope="module")
def weights() -> DecoderWeights:
    return random_weights(SHAPE, Numerics(), seed=4)


@pytest.mark.parametrize("sampling", [GREEDY, DRAW])
def test_the_golden_model_agrees_with_the_text(weights: DecoderWeights, sampling: Sampling) -> None:
    shown: list[int] = []
    made = generate(weights, [CpuBackend()], 16, [1, 2, 3], 20, sampling, show=shown.append)
    assert made.tokens == shown
    assert len(shown) == 20
    assert (made.backend, made.cycles_per_token) == ("cpu", [])
    assert golden_tokens(weights, 16, [1, 2, 3], made.tokens, sampling) == made.tokens


@pytest.mark.parametrize("sampling", [GREEDY, DRAW])
@pytest.mark.parametrize("place", [0, 7, 19])
def test_a_wrong_token_is_seen(weights: DecoderWeights, sampling: Sampling, place: int) -> None:
    tokens = generate(weights, [CpuBackend()], 16, [1, 2, 3], 20, sampling).tokens
    tokens[place] = (tokens[place] + 1) % SHAPE.vocab
    found = golden_tokens(weights, 16, [1, 2, 3], tokens, sampling)
    assert found[:place] == tokens[:place]
    assert found[place] != tokens[place]


def test_the_stop_token_ends_it(weights: DecoderWeights) -> None:
    whole = generate(weights, [CpuBackend()], 16, [1], 20, GREEDY).tokens
    cut = generate(weights, [CpuBackend()], 16, [1], 20, GREEDY, stop=whole[5]).tokens
    assert cut == whole[:whole.index(whole[5]) + 1]


class Failing(CpuBackend):
    """Gives up after a few tokens."""

    name = "failing"

    def prefill(self, tokens: Sequence[int], sampling: Sampling = GREEDY) -> int:
        if self.position > 6:
            raise BackendError("failing: lost")
        return super().prefill(tokens, sampling)


def test_the_text_goes_on_when_a_backend_is_lost(weights: DecoderWeights) -> None:
    backends: list[Backend] = [Failing(), CpuBackend()]
    made = generate(weights, backends, 16, [1, 2], 15, DRAW)
    assert made.backend == "cpu"
    assert made.notices == ["failing: lost; cpu goes on after 7 tokens"]
    assert golden_tokens(weights, 16, [1, 2], made.tokens, DRAW) == made.tokens


@pytest.mark.parametrize("backend", ["cpu", "auto"])
def test_the_command_prints_one_document(tritforge, backend: str) -> None:
    run = tritforge("generate", "In the beginning", "--backend", backend, "-n", "6", "--json")
    assert run.code == 0
    document = run.document
    assert len(document["tokens"]) == 6
    assert document["golden_equal"] is True
    assert document["cycles_per_token"] == []
    assert document["text"]
    assert document["prompt_tokens"][0] == 0


def test_the_command_shows_the_text_and_the_verdict(tritforge) -> None:
    run = tritforge("generate", "And God said", "--backend", "cpu", "-n", "4", "--temperature",
                    "0.8", "--seed", "3")
    assert run.code == 0
    assert run.out.startswith("And God said")
    assert "cpu: 4 tokens, golden model: equal" in run.out


@pytest.mark.parametrize(("arguments", "message"), [
    (("--backend", "cuda"), "unknown backend 'cuda'"),
    (("--backend", "cpu", "--profile"), "they need --backend sim"),
    (("--backend", "cpu", "--temperature", "0"), "temperature must be positive"),
    (("--backend", "cpu", "-n", "500"), "exceed the model's context of 256"),
    (("--backend", "sim", "--preset", "icebreaker"), "is no whole accelerator")])
def test_what_cannot_be_is_said_in_a_sentence(tritforge, arguments, message: str) -> None:
    run = tritforge("generate", "x", *arguments)
    assert run.code == 2
    assert message in run.err


def test_an_image_is_compiled_fitted_and_disassembled(tritforge, tmp_path: Path) -> None:
    fit = tritforge("fit", "--preset", "ulx3s", "--json").document
    assert fit["fits"]
    assert fit["bounds"]["weights"] == 8070
    assert {limit["name"]: limit["needed"] for limit in fit["limits"]}["image, beats"] == fit[
        "beats"]
    short = tritforge("fit", "--preset", "ulx3s", "-c", "system.depth=9000")
    assert short.code == 1
    assert "turn system.depth" in short.err
    refused = tritforge("compile", "-p", "ulx3s", "-c", "system.depth=9000")
    assert refused.code == 2
    assert "raise system.depth" in refused.err
    done = tritforge("compile", "--preset", "ulx3s", "-o", "a.tif", "--json")
    assert done.document["beats"] == fit["beats"]
    assert (tmp_path / "a.tif").stat().st_size == fit["image_bytes"]
    shown = tritforge("disassemble", "a.tif", "--preset", "ulx3s", "--json").document
    assert len(shown["program"]) == fit["instructions"]
    assert shown["program"][-1] == {"name": "end", "fields": {}}
    other = tritforge("disassemble", "a.tif", "--preset", "tiny")
    assert other.code == 2
    json.dumps(shown)


def test_hardware_that_the_model_exceeds_is_told_and_the_cpu_writes(tritforge) -> None:
    run = tritforge("generate", "x", "-n", "2", "--preset", "tiny", "-c", "units.max_ffn=256",
                    "-c", "window=40")
    assert run.code == 0
    assert "sim: the model's ffn is 384, tiny takes at most 256 (units.max_ffn)" in run.err
    assert "cpu: 2 tokens, golden model: equal" in run.out
