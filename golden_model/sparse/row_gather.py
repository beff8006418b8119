# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.row_gather`: values and cycles."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.sparse_config import RowGatherConfig

__all__ = ["GatherCycles", "beats", "gather_cycles", "row_gather"]


class GatherCycles(NamedTuple):
    """The cycle of every transfer of consecutive lists of rows."""

    rows: list[int]
    """On ``i``, end markers included."""
    requests: list[int]
    weights: list[int]
    sums: list[int]
    """On ``o``, end markers included."""


def beats(config: RowGatherConfig, vector: Codes) -> Codes:
    """Beats [blocks, width] of a vector or of one row [K], the last filled up with zeros."""
    return np.pad(vector, (0, -vector.size % config.width)).reshape(-1, config.width)


def row_gather(vector: Codes, weights: Codes, rows: Ints) -> Ints:
    """Return the sums of the named rows of ternary weights [M, K] times the vector [K]."""
    return weights[rows].astype(np.int64) @ vector.astype(np.int64)


def gather_cycles(config: RowGatherConfig, lists: list[tuple[int, int]],
                  latency: int) -> GatherCycles:
    """Cycles while all inputs are valid as early as can be and all outputs always ready.

    If the weights keep up, a list takes ``rows * blocks + 1`` cycles (the end marker has one), and
    the first one's end marker is out by cycle
    ``rows * blocks + latency + config.latency``, if it has any rows.

    Parameters
    ----------
    lists
        For each list its number of rows and its blocks.
    latency
        Cycles from a request to its first beat on ``i_weights``, at least 1; one beat a cycle.
    """
    cycles = GatherCycles([], [], [], [])
    pops: list[int] = []  # the cycle in which each queued row was used up
    step = -1  # the cycle in which the latest beat was multiplied
    unpacked = -1  # the same, of the latest that had weights
    now = -1
    for count, blocks in lists:
        for row in range(count + 1):
            now += 1
            if len(pops) >= config.in_flight:
                now = max(now, pops[-config.in_flight] + 1)
            cycles.rows.append(now)
            if row < count:
                cycles.requests.append(now)
                for _ in range(blocks):
                    # A beat passes into the unpacker as the one before leaves it.
                    cycles.weights.append(max(now + latency, unpacked,
                                              cycles.weights[-1] + 1 if cycles.weights else 0))
                    step = unpacked = max(step + 1, now + 1, cycles.weights[-1] + 1)
            else:
                step = max(step, now) + 1
            pops.append(step)
            cycles.sums.append(step + config.latency - 1)
    return cycles
