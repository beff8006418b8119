# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.mac.accumulator`."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Ints
from golden_model.config import DIGIT_WEIGHT_BITS, ArrayConfig

__all__ = ["AccumulatorCycles", "BeatTag", "accumulator"]


class BeatTag(NamedTuple):
    """What goes with the sums of a beat."""

    high: bool
    """They are of a high digit and count 16-fold."""
    last: bool
    """They end a block of rows."""
    final: bool
    """That block is the command's last."""


def accumulator(config: ArrayConfig, sums: Ints, high: NDArray[np.bool_],
                last: NDArray[np.bool_], token: Ints | None = None) -> Ints:
    """Totals [blocks, rows] of sums [beats, rows], wrapped to ``acc_bits``.

    Beats of several tokens, if `token` says so, have a total for each; all in the order in which
    they end.
    """
    shifted = sums << DIGIT_WEIGHT_BITS * high[:, None].astype(np.int64)
    totals = np.zeros_like(sums)
    for own in range(config.batch):
        mine = np.flatnonzero(token == own) if token is not None else np.arange(len(sums))
        ends = last[mine]
        totals[mine[ends]] = np.diff(np.cumsum(shifted[mine], axis=0)[ends], axis=0, prepend=0)
    totals = totals[last]
    half = 1 << config.acc_bits - 1
    wrapped: Ints = (totals + half) % (2 * half) - half
    return wrapped


class AccumulatorCycles:
    """Handshakes of the accumulator, cycle by cycle."""

    def __init__(self) -> None:
        self.valid = False
        """``o.valid`` in this cycle."""
        self.last = False
        """``o.payload.last``, if valid."""

    def ready(self, tag: BeatTag | None, o_ready: bool) -> bool:
        """``i.ready`` in this cycle, for the beat on ``i``; without a beat nobody asks."""
        return tag is None or not tag.last or not self.valid or o_ready

    def tick(self, tag: BeatTag | None, o_ready: bool) -> None:
        """Go on to the next cycle."""
        taken = tag is not None and tag.last and self.ready(tag, o_ready)
        if o_ready:
            self.valid = False
        if taken and tag is not None:
            self.valid, self.last = True, tag.final
