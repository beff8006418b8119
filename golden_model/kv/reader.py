# SPDX-License-Identifier: Apache-2.0
"""Which rows a read gives, and when their addresses are out."""

from collections.abc import Iterable

from golden_model.attention.attend import visible

__all__ = ["READER_LATENCY", "address_cycles", "rows_read"]

READER_LATENCY = 2
"""Cycles from a command to its first address: look-up, walk."""


def rows_read(tokens: int, appended: bool, window: int) -> list[int | None]:
    """Rows of the ring, oldest first, after None for the first token's.

    Parameters
    ----------
    tokens
        Complete tokens, however many there were.
    appended
        Whether the stream has its row of the next one.
    """
    seen = visible(tokens + appended - 1, 1, window)[0].nonzero()[0]
    return [None if token == 0 else (int(token) - 1) % (window - 1) for token in seen]


def address_cycles(commands: Iterable[tuple[int, int]]) -> list[int]:
    """Cycles of all addresses while nothing stalls.

    Parameters
    ----------
    commands
        Cycle in which each is offered, and words that it gives.
    """
    cycles: list[int] = []
    free, room = 0, 0  # when the walk can begin, and when the look-up takes a command
    for offered, words in commands:
        taken = max(offered, room)
        start = max(taken + READER_LATENCY, free)
        room = start - 1
        free = start + words
        cycles += range(start, free)
    return cycles
