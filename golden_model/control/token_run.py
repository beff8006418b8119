# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.token_run`: the cycles of one token."""

from typing import NamedTuple

__all__ = ["TokenCycles", "token_cycles"]


class TokenCycles(NamedTuple):
    """Cycles from the token's offer on."""

    run: int
    """Offer of the run."""
    advance: int | None
    """Offer of the cache's command."""
    done: int
    """Acceptance of the token."""


def token_cycles(run: int, advance: int | None) -> TokenCycles:
    """Cycles of a token whose run takes `run` cycles, its acceptance the last.

    Parameters
    ----------
    advance
        Cycles of the cache's command, its acceptance the last; None after a fault.
    """
    ended = 1 + run
    return TokenCycles(1, None if advance is None else ended, ended + (advance or 0))
