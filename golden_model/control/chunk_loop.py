# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.chunk_loop`: what is read at a time, and when.

What a start reads and generates is as in :mod:`golden_model.control.token_loop`.
"""

from collections.abc import Sequence

from golden_model.control.token_loop import START_CYCLES, Read
from golden_model.system_config import TokenLoopConfig

__all__ = ["chunk_sizes", "chunks", "ready_cycles"]


def chunks(config: TokenLoopConfig, reads: Sequence[Read], prompt: int) -> list[list[Read]]:
    """Tokens that are read at a time, of a start with `prompt` tokens of prompt."""
    done, found = 0, []
    for count in chunk_sizes(config, len(reads), prompt):
        found.append(list(reads[done:done + count]))
        done += count
    return found


def chunk_sizes(config: TokenLoopConfig, count: int, prompt: int) -> list[int]:
    """How many of `count` tokens are read at a time, the first ones being the prompt."""
    prompt, batch = min(prompt, count), config.cache.batch
    whole, rest = divmod(prompt, batch)
    return [batch] * whole + [rest] * (rest > 0) + [1] * (count - prompt)


def ready_cycles(config: TokenLoopConfig, counts: Sequence[int], prompt: int,
                 durations: Sequence[int]) -> list[tuple[int, int]]:
    """First and last cycle of each chunk in the decoder, as of the token loop's tokens.

    Parameters
    ----------
    counts
        Tokens of each chunk.
    prompt
        Those of them that are the prompt's.
    durations
        Cycles from a chunk's offer to the one in which it is taken.
    """
    cycles = []
    now, before, read = START_CYCLES - config.gap, 0, 0
    for count, duration in zip(counts, durations, strict=True):
        # Into the queue, or out of it and a look at it for each token.
        looks = 2 * count if read < prompt else config.gap - 1
        first = now + 1 + max(0, before - 1) + looks
        cycles.append((first, first + duration))
        now, before, read = first + duration, count, read + count
    return cycles
