# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.mac.tree_core`."""

from typing import Generic, TypeVar

import numpy as np

from golden_model.arrays import Ints
from golden_model.config import ArrayConfig

__all__ = ["CoreCycles", "tree_core"]

Tag = TypeVar("Tag")


def tree_core(config: ArrayConfig, w: Ints, x: Ints) -> Ints:
    """Return sums [beats, rows] of weights [beats, rows, lanes] and words [beats, lanes]."""
    if w.shape[1:] != (config.rows, config.lanes) or x.shape[1:] != (config.lanes,):
        raise ValueError(f"weights {w.shape} and words {x.shape} do not fit {config.rows} rows of "
                         f"{config.lanes} lanes")
    sums: Ints = np.einsum("brl,bl->br", np.where(w == -2, 0, w), x)
    return sums


class CoreCycles(Generic[Tag]):
    """Handshakes of the core, cycle by cycle, with the tag of each beat (None: no beat).

    The stage that reads the memory fills up when it is empty or the trees move; the trees move as a
    whole, unless a beat at their end is not accepted.
    """

    def __init__(self, config: ArrayConfig) -> None:
        self.read: Tag | None = None
        self.stages: list[Tag | None] = [None] * config.dot.latency

    @property
    def tag(self) -> Tag | None:
        """Beat on ``o`` in this cycle."""
        return self.stages[-1]

    def _moves(self, o_ready: bool) -> bool:
        return o_ready or self.tag is None

    def ready(self, o_ready: bool) -> bool:
        """``i.ready`` in this cycle."""
        return self.read is None or self._moves(o_ready)

    def tick(self, beat: Tag | None, o_ready: bool) -> None:
        """Go on to the next cycle, with `beat` on ``i`` if not None."""
        ready = self.ready(o_ready)
        if self._moves(o_ready):
            self.stages = [self.read, *self.stages[:-1]]
        if ready:
            self.read = beat
