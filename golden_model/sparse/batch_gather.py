# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.batch_gather`: values and cycles."""

import numpy as np

from golden_model.arrays import Bools, Codes, Ints
from golden_model.batch_config import BatchGatherConfig
from golden_model.sparse.row_gather import GatherCycles

__all__ = ["batch_gather", "batch_gather_cycles"]


def batch_gather(vectors: Codes, weights: Codes, wanted: Bools) -> list[tuple[int, int, int]]:
    """Return row, token and sum of every wanted row of weights [M, K] times vectors [tokens, K].

    Parameters
    ----------
    wanted
        Which token wants which row [M, tokens].
    """
    sums: Ints = weights.astype(np.int64) @ vectors.T.astype(np.int64)
    return [(row, token, int(sums[row, token])) for row, token in np.argwhere(wanted).tolist()]


def batch_gather_cycles(config: BatchGatherConfig, lists: list[tuple[list[int], int]],
                        latency: int) -> GatherCycles:
    """Cycles while all inputs are valid as early as can be and all outputs always ready.

    Parameters
    ----------
    lists
        For each list, how many tokens want each row on ``i``, and its blocks.
    latency
        Cycles from a request to its first beat on ``i_weights``, at least 1; one beat a cycle.
    """
    cycles = GatherCycles([], [], [], [])
    pops: list[int] = []  # the cycle in which each queued row was used up
    step = -1  # the cycle in which the latest beat was multiplied with its latest token
    unpacked = -1  # the same, of the latest that had weights
    now = -1
    for turns, blocks in lists:
        for tokens in [*turns, None]:
            now += 1
            if tokens == 0:
                cycles.rows.append(now)
                continue
            if len(pops) >= config.in_flight:
                now = max(now, pops[-config.in_flight] + 1)
            cycles.rows.append(now)
            if tokens is None:
                step = max(step, now) + 1
                cycles.sums.append(step + config.latency - 1)
            else:
                cycles.requests.append(now)
                for block in range(blocks):
                    # A beat passes into the unpacker as the one before leaves it.
                    cycles.weights.append(max(now + latency, unpacked,
                                              cycles.weights[-1] + 1 if cycles.weights else 0))
                    first = max(step, now, cycles.weights[-1]) + 1
                    step = unpacked = first + tokens - 1
                    if block == blocks - 1:
                        cycles.sums.extend(range(first + config.latency - 1, step + config.latency))
            pops.append(step)
    return cycles
