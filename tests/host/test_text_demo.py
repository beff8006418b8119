# SPDX-License-Identifier: Apache-2.0
"""What the demo judges and prints; its run of the whole RTL takes minutes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.exact import ExactDecoder
from golden_model.presets import preset
from golden_model.weights import random_weights
from host.backends.cpu import CpuBackend
from host.backends.sampling import GREEDY
from host.cli.demo import WIDTH, Writer
from host.demo import MODEL
from host.errors import UserError
from host.generate import generate
from host.text import Vocabulary
from host.text_demo import Expected, TextRun, expect, expecting, judge, passage

README = Path(__file__).parents[2] / "README.md"
SHAPE = ModelShape(vocab=40, hidden=32, ffn=48, layers=2, heads=2, kv_heads=1, head_dim=16,
                   context=64)
WEIGHTS = random_weights(SHAPE, Numerics(), seed=4)
CONFIG = preset("tiny")


PROMPT = [1, 2, 3]
COUNT = 20


@pytest.fixture(scope="module")
def expected() -> Expected:
    return expect(CONFIG, WEIGHTS, PROMPT, COUNT)


@pytest.fixture
def run(expected: Expected) -> TextRun:
    """Return a run of hardware that does what it should, of text that a backend wrote."""
    made = generate(WEIGHTS, [CpuBackend()], CONFIG.window, PROMPT, COUNT, GREEDY)
    made.read_cycles = list(expected.cycles or [])
    return TextRun(made, expected.logits.copy(), list(expected.scales), [], {})


def test_the_golden_model_writes_by_itself(expected: Expected) -> None:
    decoder = ExactDecoder(WEIGHTS, window=CONFIG.window)
    tokens, rows = list(PROMPT), [decoder.forward(np.array(PROMPT))[-1]]
    for _ in range(COUNT - 1):
        tokens.append(int(np.argmax(rows[-1])))
        rows.append(decoder.forward(np.array(tokens[-1:]))[-1])
    assert expected.tokens == [*tokens[3:], int(np.argmax(rows[-1]))]
    assert np.array_equal(expected.logits, np.array(rows))
    assert len(expected.scales) == COUNT
    with expecting(CONFIG, WEIGHTS, PROMPT, COUNT) as get:
        again = get()
    assert (again.tokens, again.scales, again.cycles) == (
        expected.tokens, expected.scales, expected.cycles)
    assert np.array_equal(again.logits, expected.logits)


def test_what_goes_wrong_meanwhile_does_not_wait_for_the_golden_model() -> None:
    """Regression: with weights that a pipe does not hold, the end of a pool could hang."""
    large = replace(SHAPE, hidden=256, ffn=512, heads=4)
    weights = random_weights(large, Numerics(), seed=1)
    with pytest.raises(KeyError), expecting(CONFIG, weights, PROMPT, 1000):
        raise KeyError


def test_a_golden_model_that_fails_is_no_endless_wait() -> None:
    with expecting(CONFIG, WEIGHTS, [SHAPE.vocab], 1) as get, pytest.raises(
            RuntimeError, match="without an answer"):
        get()


def test_the_golden_models_text_passes(run: TextRun, expected: Expected) -> None:
    verdict = judge(run, expected)
    assert (verdict.tokens_equal, verdict.logits_equal, verdict.passed) == (True, True, True)


@pytest.mark.parametrize("place", [0, 19])
def test_one_other_logit_or_scale_is_seen(run: TextRun, expected: Expected, place: int) -> None:
    logits, scales = run.logits.copy(), list(run.scales)
    logits[place, 7] += 1
    scales[place] *= 2
    for changed in (replace(run, logits=logits), replace(run, scales=scales),
                    replace(run, logits=run.logits[:-1])):
        verdict = judge(changed, expected)
        assert (verdict.tokens_equal, verdict.logits_equal, verdict.passed) == (True, False, False)


def test_a_cycle_too_many_is_seen(run: TextRun, expected: Expected) -> None:
    cycles = list(run.made.read_cycles)
    assert len(cycles) == 22
    assert max(cycles[:2]) < min(cycles[2:])   # those leave the head out
    cycles[9] += 1
    changed = replace(run, made=replace(run.made, read_cycles=cycles))
    verdict = judge(changed, expected)
    assert (verdict.logits_equal, verdict.cycles_equal, verdict.passed) == (True, False, False)
    # With the image outside they depend on the memory.
    outside = replace(CONFIG, system=replace(CONFIG.system, memory="axi"))
    assert judge(changed, expect(outside, WEIGHTS, PROMPT, COUNT)).passed


def test_another_token_is_seen(run: TextRun, expected: Expected) -> None:
    tokens = list(run.made.tokens)
    tokens[5] ^= 1
    assert not judge(replace(run, made=replace(run.made, tokens=tokens)), expected).passed


def test_a_passage_is_the_held_out_text() -> None:
    vocabulary = Vocabulary(MODEL.with_name("tokenizer.json"))
    assert vocabulary.decode(passage(12)).startswith("Now it came to pass")
    with pytest.raises(UserError, match="asks for 1000 tokens"):
        passage(1000)


def test_text_is_shown_as_it_comes_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary = Vocabulary(MODEL.with_name("tokenizer.json"))
    tokens = passage(140)
    writer = Writer(vocabulary, tokens[:112], quiet=False)
    shown = ""
    for token in tokens[112:]:
        writer.show(token)
        now = capsys.readouterr().out
        assert now
        shown += now
    writer.end()
    shown += capsys.readouterr().out
    read, _, written = shown.partition("\n\nThe RTL goes on:\n")
    words = vocabulary.decode(tokens).split()
    assert [*read.split()[:5], *written.split()[-5:]] == [*words[:5], *words[-5:]]
    assert " ".join(read.split()) + " " + " ".join(written.split()) == " ".join(words)
    assert max(map(len, shown.splitlines())) <= WIDTH + 1
    quiet = Writer(vocabulary, tokens[:10], quiet=True)
    quiet.show(5)
    quiet.end()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "none.safetensors"], "none.safetensors: No such file"),
    (["--preset", "icebreaker"], "is no whole accelerator"),
    (["--read", "200", "--tokens", "100"], "exceed the model's context of 256"),
    (["--read", "1000"], "asks for 1000 tokens")])
def test_mistakes_end_with_code_2_and_no_traceback(tritforge, arguments, message) -> None:
    run = tritforge("demo", *arguments)
    assert run.code == 2
    assert message in run.err
    assert "Traceback" not in run.err


@pytest.mark.cocotb
@pytest.mark.slow
def test_the_readme_shows_what_the_demo_prints(tritforge) -> None:
    text = README.read_text(encoding="utf-8")
    shown = text.partition("<!-- demo-output -->\n```\n")[2].partition("\n```\n<!-- /demo-")[0]
    run = tritforge("demo")
    assert run.code == 0, run.err
    lines = [line.rstrip() for line in run.out.splitlines()]
    assert lines == shown.splitlines()
    assert max(map(len, lines)) <= 100
