# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.block_memory`."""

from collections.abc import Sequence
from typing import NamedTuple

from golden_model.image_config import BlockMemoryConfig

__all__ = ["Burst", "read", "schedule"]


class Burst(NamedTuple):
    """One request."""

    address: int
    """First beat."""
    beats: int
    """How many, at least 1."""


def read(memory: Sequence[int], bursts: Sequence[Burst]) -> list[int]:
    """Beats that answer `bursts`, of a memory that holds each address."""
    return [memory[burst.address + n] for burst in bursts for n in range(burst.beats)]


def schedule(config: BlockMemoryConfig, offered: Sequence[int],
             bursts: Sequence[Burst]) -> tuple[list[int], list[int]]:
    """Cycles of each request's transfer and of each beat's, if ``o`` never stalls.

    `offered` is the cycle from which each request is there, once the one before has been taken.
    """
    taken: list[int] = []
    beats: list[int] = []
    start = -1
    for cycle, burst in zip(offered, bursts, strict=True):
        # One request waits ahead of the last address of the burst before.
        taken.append(max(cycle, start + 1))
        start = max(taken[-1], beats[-1] - config.latency + 1 if beats else 0)
        beats += range(start + config.latency, start + config.latency + burst.beats)
    return taken, beats
