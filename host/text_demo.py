# SPDX-License-Identifier: Apache-2.0
"""A trained model's text out of its generated hardware, and all of it that can be compared.

The hardware reads a passage of held-out text and goes on with it, past the window of its KV cache,
so that old rows give way to new ones.  Each token, each logit and each token's cycles must be the
golden model's, which writes its own text meanwhile, in a process of its own.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from golden_model import smallfloat
from golden_model.accelerator_config import AcceleratorConfig
from golden_model.exact import ExactDecoder
from golden_model.weights import DecoderWeights
from host.backends.cpu import CpuBackend
from host.backends.sampling import GREEDY
from host.backends.sim import SimBackend
from host.demo import HELD_OUT, load_tokens
from host.generate import Generation, generate
from host.profile import profile_rows, spans_of
from host.token_cycles import predicted_cycles

__all__ = ["Expected", "Judgement", "TextRun", "expect", "expecting", "judge", "passage",
           "write_text"]

STEP = 16
"""Tokens of the prompt between two words about it."""


@dataclass(frozen=True, eq=False)
class TextRun:
    """What the hardware wrote, and what was seen of it."""

    made: Generation
    logits: np.ndarray[Any, np.dtype[np.int64]]
    """Behind each token but the prompt's first ones [tokens, vocabulary]."""
    scales: list[float]
    """Real value of one unit of each row's logits."""
    profile: list[dict[str, Any]]
    """Cycles of each kind of instruction, in tokens that have a successor."""
    counters: dict[str, int]


@dataclass(frozen=True, eq=False)
class Expected:
    """What the golden model writes behind a prompt, greedily."""

    tokens: list[int]
    logits: np.ndarray[Any, np.dtype[np.int64]]
    """Behind each token but the prompt's first ones [tokens, vocabulary]."""
    scales: list[float]
    """Real value of one unit of each row's logits."""
    cycles: list[int] | None
    """Of each token that is read; None: its image is not on the chip, so they depend."""


@dataclass(frozen=True)
class Judgement:
    """What of a run is the golden model's."""

    tokens_equal: bool
    logits_equal: bool
    """Integers and scales, all of them."""
    predicted: list[int] | None
    """Cycles of each token that is read; None: its image is not on the chip, so they depend."""
    cycles_equal: bool
    """They are the hardware's, if they are predicted."""

    @property
    def passed(self) -> bool:
        """Everything is."""
        return self.tokens_equal and self.logits_equal and self.cycles_equal


def passage(count: int) -> list[int]:
    """First `count` tokens of the held-out text; `UserError` if there are not as many."""
    return [int(token) for token in load_tokens(HELD_OUT, count)]


def write_text(config: AcceleratorConfig, weights: DecoderWeights, prompt: Sequence[int],
               count: int, *, show: Callable[[int], None] = lambda _: None,
               report: Callable[[str], None] = lambda _: None) -> TextRun:
    """Build the hardware of `config`, have it read a prompt and write `count` tokens, greedily.

    Parameters
    ----------
    show
        Told each token as it comes.
    report
        Told what is under way until then.

    Raises
    ------
    BackendError
        It cannot be built, does not take the model, or reports an error.
    """
    backend = SimBackend(config, report=report)
    try:
        backend.load(weights, config.window)
        backend.system.record(steps=True, logits=True)
        told = 0

        def watch() -> None:
            nonlocal told
            read = backend.driver.registers.read("position")["value"]
            if read >= told + STEP and read < len(prompt):
                told = read
                report(f"{read} of {len(prompt)} tokens read")

        backend.watch(watch)
        made = generate(weights, [backend], config.window, prompt, count, GREEDY, show=show)
        spans = [span for span in spans_of(backend.system.steps())
                 if span.token >= made.prompt_reads - 1]
        values, bits = backend.system.logits()
        rows = values.reshape(-1, backend.driver.vocab)
        scales = smallfloat.from_bits(bits[::rows.shape[1]].astype(np.int64)).tolist()
        return TextRun(made, rows, scales, profile_rows(spans), backend.counters())
    finally:
        backend.close()


def expect(config: AcceleratorConfig, weights: DecoderWeights, prompt: Sequence[int],
           count: int) -> Expected:
    """Have the golden model write `count` tokens, and say in which cycles the hardware does."""
    made = generate(weights, [CpuBackend()], config.window, prompt, count, GREEDY)
    read = [*made.prompt, *made.tokens[:-1]]
    decoder = ExactDecoder(weights, window=config.window)
    first = len(made.prompt) - 1
    return Expected(made.tokens, decoder.forward(np.array(read, np.int64))[first:],
                    [float(scale) for scale in decoder.logit_scale[first:]],
                    predicted_cycles(config, weights, read, len(made.prompt)))


@contextmanager
def expecting(config: AcceleratorConfig, weights: DecoderWeights, prompt: Sequence[int],
              count: int) -> Iterator[Callable[[], Expected]]:
    """`expect` beside what is done meanwhile; yields a function that waits for its result."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, config, weights, list(prompt), count))
    process.start()
    sender.close()   # the other process has it: if that ends without an answer, waiting ends too

    def get() -> Expected:
        try:
            expected: Expected = receiver.recv()
        except EOFError:
            raise RuntimeError("the golden model's process ended without an answer") from None
        return expected

    try:
        yield get
    finally:
        process.terminate()
        process.join()
        receiver.close()


def _answer(sender: Connection, config: AcceleratorConfig, weights: DecoderWeights,
            prompt: Sequence[int], count: int) -> None:
    """Send what is expected; interrupts are for the parent, which ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sender.send(expect(config, weights, prompt, count))


def judge(run: TextRun, expected: Expected) -> Judgement:
    """Compare a run with the golden model's; behind the first other token nothing is equal."""
    return Judgement(
        predicted=expected.cycles, tokens_equal=expected.tokens == run.made.tokens,
        cycles_equal=expected.cycles in (None, run.made.read_cycles),
        logits_equal=np.array_equal(expected.logits, run.logits)
        and expected.scales == run.scales)
