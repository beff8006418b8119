# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.vector.narrower`."""

from golden_model.arrays import Ints
from golden_model.stream_config import NarrowerConfig

__all__ = ["narrow", "schedule"]


def narrow(config: NarrowerConfig, wide: Ints, beats: int) -> Ints:
    """First `beats` narrow beats [beats, lanes] of wide ones [blocks, width]."""
    return wide.reshape(-1, config.lanes)[:beats]


def schedule(config: NarrowerConfig, beats: int) -> list[int]:
    """Cycle in which each wide beat is taken, if all are offered from cycle 0 and none waits."""
    return [min(first + config.parts, beats) - 1 for first in range(0, beats, config.parts)]
