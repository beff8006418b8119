# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.head.plane_sum`."""

from collections.abc import Sequence

import numpy as np

from golden_model.arrays import Ints
from golden_model.head_config import PLANES, PlaneSumConfig

__all__ = ["PlaneSteps", "plane_sums", "schedule"]


def plane_sums(sums: Ints, vocab: int) -> Ints:
    """Logits [vocab] of the array's beats [blocks * 3, rows], each block's top plane first."""
    blocks = sums.reshape(-1, PLANES, sums.shape[1])
    weights = 3 ** np.arange(PLANES)[::-1]
    return np.asarray((blocks * weights[:, None]).sum(axis=1).ravel()[:vocab])


def schedule(config: PlaneSumConfig, offered: Sequence[int],
             vocab: int) -> tuple[list[int], list[int]]:
    """State cycles of one vocabulary's transfers if ``o`` never stalls.

    Parameters
    ----------
    offered
        Cycle from which each beat is offered, if the one before has been taken.
    vocab
        Logits.

    Returns
    -------
    taken, logits
        Cycle of each beat's transfer, and of each logit's.
    """
    taken: list[int] = []
    logits: list[int] = []
    handed = -1   # cycle in which a block's sums left the accumulators
    for beat, cycle in enumerate(offered):
        taken.append(max(cycle, taken[-1] + 1 if taken else 0, handed + 1))
        if beat % PLANES == PLANES - 1:
            handed = max(taken[-1] + 1, logits[-1] if logits else 0)
            count = min(config.rows, vocab - len(logits))
            logits += range(handed + 1, handed + 1 + count)
    return taken, logits


class PlaneSteps:
    """Handshakes of one vocabulary, cycle by cycle, under any stalls."""

    def __init__(self, config: PlaneSumConfig, vocab: int) -> None:
        self.config, self.left = config, vocab
        self.plane = self.waiting = 0
        self.full = False

    @property
    def ready(self) -> bool:
        """``i.ready`` in this cycle."""
        return not self.full

    @property
    def valid(self) -> bool:
        """``o.valid`` in this cycle."""
        return self.waiting > 0

    def tick(self, i_valid: bool, o_ready: bool) -> None:
        """Go on to the next cycle."""
        accepted, takes = o_ready and self.valid, i_valid and self.ready
        last = accepted and self.left == 1
        hands = self.full and (not self.waiting or (accepted and (self.waiting == 1 or last)))
        self.left -= accepted
        self.waiting = 0 if last else self.waiting - accepted
        if hands:
            self.waiting, self.full = self.config.rows, False
        if takes:
            self.plane = (self.plane + 1) % PLANES
            self.full = not self.plane
