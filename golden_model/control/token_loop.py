# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.token_loop`: what a start reads and generates, and when."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from golden_model.control.sequences import Sequence
from golden_model.system_config import TokenLoopConfig

__all__ = ["Facts", "Read", "Start", "ready_cycles", "run", "saved_words"]

START_CYCLES = 4
"""From a start to its first token's, of an open slot: a look at it, the queue, the position."""


class Facts(NamedTuple):
    """Fields of the image's header."""

    vocab: int
    context: int
    window: int
    state_words: int


@dataclass(frozen=True, kw_only=True)
class Start:
    """Settings of one start."""

    prompt: tuple[int, ...] = ()
    generate: int = 0
    stop: int | None = None


class Read(NamedTuple):
    """One token that is read."""

    token: int
    position: int
    skip_head: bool
    following: int | None
    """Token that is generated."""
    last: bool
    """It is the last of the start."""


def run(facts: Facts, sequence: Sequence, start: Start,
        read: Callable[[int, int, bool], int | None]) -> tuple[list[Read], Sequence, str | None]:
    """Tokens that a start reads, the sequence behind them, and the error that ended it.

    Parameters
    ----------
    read
        The decoder: reads a token at a position and returns its successor, or nothing if that is
        not wanted (the third argument).
    """
    if not sequence.open:
        sequence = sequence.cleared()
    done: list[Read] = []
    prompt, left = list(start.prompt), start.generate
    while prompt or (left and sequence.following is not None):
        skip = False
        if prompt:
            token = prompt.pop(0)
            skip = bool(prompt) or left == 0
        elif sequence.following is not None:
            token = sequence.following
        if token >= facts.vocab:
            return done, sequence, "token_range"
        if sequence.position >= facts.context:
            return done, sequence, "kv_capacity"
        following = read(token, sequence.position, skip)
        last = not skip and (left == 1 or following == start.stop)
        done.append(Read(token, sequence.position, skip, following, last))
        sequence = sequence.advanced(following, facts.window, facts.state_words)
        if not skip:
            left -= 1
            if last:
                break
    return done, sequence, None


def ready_cycles(config: TokenLoopConfig, durations: Iterable[int]) -> list[tuple[int, int]]:
    """First and last cycle of each token in the decoder, counted from the start's pulse.

    For an open slot, a prompt that is there and a queue that takes every token.

    Parameters
    ----------
    durations
        Cycles from a token's offer to the one in which it is taken.
    """
    cycles = []
    first = START_CYCLES
    for duration in durations:
        cycles.append((first, first + duration))
        first += duration + config.gap
    return cycles


def saved_words(sequence: Sequence, content: list[int]) -> list[int]:
    """Words of a saved sequence, `content` being what the cache sends."""
    return [4 * (len(content) + 1), sequence.position, *content]
