# SPDX-License-Identifier: Apache-2.0
"""Text from a prompt on any backend, and the judgement of the golden model on it."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from golden_model.exact import ExactDecoder
from golden_model.weights import DecoderWeights
from host.backends.base import Backend
from host.backends.sampling import Sampling
from host.backends.session import Session
from host.backends.sim import SimBackend

__all__ = ["Generation", "generate", "golden_tokens"]

CANARY_EVERY = 64
"""Tokens between two trials, and two saved states, of a device that is tried."""


@dataclass
class Generation:
    """What was generated, and how."""

    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    backend: str = ""
    """That which gave the last token."""
    notices: list[str] = field(default_factory=list)
    """A sentence for each backend that was left, and why."""
    read_cycles: list[int] = field(default_factory=list)
    """Clock cycles of each token that was read, prompt tokens among them; `sim` only.

    Of prompt tokens that were read at a time, in a chunk, once."""
    read_tokens: list[int] = field(default_factory=list)
    """Tokens of each such read."""
    appeared: list[int] = field(default_factory=list)
    """Clock cycle in which each token was there, counted from the start of the first; `sim`."""
    gap: int = 0
    """Clock cycles between two tokens."""
    seconds: float = 1e-9
    cpu_seconds: float = 1e-9
    """The same on one core that does nothing else."""

    @property
    def cycles_per_token(self) -> list[int]:
        """Clock cycles from each token to the next, the first from the start: the prompt's too."""
        return [int(cycle) for cycle in np.diff([0, *self.appeared])]

    @property
    def prompt_reads(self) -> int:
        """Reads that the prompt took."""
        return int(np.searchsorted(np.cumsum(self.read_tokens), len(self.prompt))) + 1


def golden_tokens(weights: DecoderWeights, window: int, prompt: Sequence[int],
                  tokens: Sequence[int], sampling: Sampling) -> list[int]:
    """Token that the golden model gives behind the prompt and behind each of `tokens` but the last.

    It reads the whole text at once; so it agrees with a text exactly if it would generate it.
    """
    if not tokens:
        return []
    decoder = ExactDecoder(weights, window=window)
    logits = decoder.forward(np.array([*prompt, *tokens[:-1]], np.int64))
    found = []
    for row in range(len(prompt) - 1, len(logits)):
        found.append(sampling.draw(logits[row], decoder.logit_scale[row]))
        sampling = sampling.advanced
    return found


def _from_hardware(backend: SimBackend, made: Generation, count: int, sampling: Sampling,
                   stop: int | None) -> Iterator[int]:
    """One start of the simulated hardware, with the cycles that it takes."""
    system: Any = backend.system
    system.tokens(), system.given()
    yield from backend.stream(made.prompt, count, sampling, stop)
    spans = system.tokens()
    reads, counts = np.unique(spans, axis=0, return_counts=True)
    made.read_cycles = [int(last - first) + 1 for first, last in reads]
    made.read_tokens = [int(count) for count in counts]
    start = int(spans[0, 0]) if len(spans) else 0
    made.appeared = [int(cycle) - start for cycle in system.given()]
    made.gap = backend.config.token_loop.gap - 1


def generate(weights: DecoderWeights, backends: Sequence[Backend], window: int,
             prompt: Sequence[int], count: int, sampling: Sampling, *, stop: int | None = None,
             show: Callable[[int], None] = lambda _: None,
             notice: Callable[[str], None] = lambda _: None, canary: int = 0) -> Generation:
    """Read a prompt and generate up to `count` tokens.

    Parameters
    ----------
    backends
        In the order in which they are tried; each is used until it fails.
    show
        Told each token as it comes.
    notice
        Told when a backend is left, and why.
    canary
        Tokens of a trial on anything but the CPU, ahead of its use and every `CANARY_EVERY` tokens;
        0: none.
    """
    made = Generation(list(prompt))

    def note(text: str) -> None:
        made.notices.append(text)
        notice(text)

    every = CANARY_EVERY if canary else 0
    session = Session(weights, backends, window, canary=canary, canary_every=every,
                      save_every=every, notice=note)
    backend = session.backend
    start, cpu_start = time.monotonic(), time.process_time()
    if isinstance(backend, SimBackend) and len(backends) == 1:
        tokens = _from_hardware(backend, made, count, sampling, stop)
    else:
        tokens = _from_session(session, made.prompt, count, sampling, stop)
    for token in tokens:
        made.tokens.append(token)
        show(token)
    made.seconds += time.monotonic() - start
    made.cpu_seconds += time.process_time() - cpu_start
    made.backend = session.backend.name
    return made


def _from_session(session: Session, prompt: Sequence[int], count: int, sampling: Sampling,
                  stop: int | None) -> Iterator[int]:
    """Token by token, on whichever backend is left."""
    fed = list(prompt)
    for _ in range(count):
        token = session.read(fed, sampling)
        yield token
        if token == stop:
            return
        fed, sampling = [token], sampling.advanced
