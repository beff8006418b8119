# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.vector.token_store`: when words are given."""

from collections.abc import Sequence

__all__ = ["StoreReads"]


class StoreReads:
    """One reading of a token's words, cycle by cycle.

    Parameters
    ----------
    arrivals
        The cycle in which each word comes, in the cycles that `tick` counts.
    start
        The cycle from which on the command is offered.
    passes
        How often they are given.
    """

    def __init__(self, arrivals: Sequence[int], start: int, passes: int = 1) -> None:
        self.arrivals, self.start = [*arrivals] * passes, start
        self.asked = 0
        self.valid = False
        """``o.valid`` in this cycle."""

    def tick(self, now: int, ready: bool) -> None:
        """Go on from cycle `now` to the next one."""
        free = ready or not self.valid
        step = (now >= self.start and self.asked < len(self.arrivals)
                and self.arrivals[self.asked] < now and free)
        self.valid = step or (self.valid and not ready)
        self.asked += step
