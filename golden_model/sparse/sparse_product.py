# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.sparse_product`: values and cycles."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.sparse_config import SparseProductConfig

__all__ = ["SparseCycles", "blocks", "column_beats", "sparse_cycles", "sparse_product"]


class SparseCycles(NamedTuple):
    """The cycle of every transfer of consecutive vectors."""

    channels: list[int]
    """On ``i``: elements and end markers."""
    requests: list[int]
    weights: list[int]
    sums: list[int]


def blocks(config: SparseProductConfig, m: int) -> int:
    """Beats of a column, and of the result, for `m` outputs."""
    return -(-m // config.width)


def column_beats(config: SparseProductConfig, column: Codes) -> Codes:
    """Trits [blocks, width] of one column [M], the last beat filled up with zeros."""
    return np.pad(column, (0, -column.size % config.width)).reshape(-1, config.width)


def sparse_product(config: SparseProductConfig, codes: Codes, weights: Codes) -> Ints:
    """Return sums [blocks, width] of codes [n] times weights [M, n], filled up with zeros."""
    kept = np.flatnonzero(codes)
    sums = weights[:, kept].astype(np.int64) @ codes[kept].astype(np.int64)
    return np.pad(sums, (0, -sums.size % config.width)).reshape(-1, config.width)


def sparse_cycles(config: SparseProductConfig, vectors: list[tuple[list[bool], int]],
                  latency: int) -> SparseCycles:
    """Cycles while all inputs are valid as early as can be and all outputs always ready.

    If the weights keep up and zeros do not hold up the channels, a vector takes
    ``max(nnz, 1) * blocks`` cycles from one vector's last sums to the next one's, and the first
    one's are out by cycle ``max(nnz, 1) * blocks + latency + 2``.

    Parameters
    ----------
    vectors
        For each vector, whether each of its elements on ``i`` is other than zero, and its blocks.
    latency
        Cycles from a request to its first beat on ``i_weights``, at least 1; one beat a cycle.
    """
    cycles = SparseCycles([], [], [], [])
    pops: list[int] = []  # the cycle in which each queued code was used up
    step = -1  # the cycle in which the latest beat was added
    unpacked = -1  # the same, of the latest that had weights

    def queue_column(after: int, requested: int | None, count: int, last: bool) -> None:
        """Add a column's beats from the cycle `after` its code was queued."""
        nonlocal step, unpacked
        for _ in range(count):
            step = max(step, after) + 1
            if requested is not None:
                # A beat passes into the unpacker as the one before leaves it.
                cycles.weights.append(max(requested + latency, unpacked,
                                          cycles.weights[-1] + 1 if cycles.weights else 0))
                step = unpacked = max(step, cycles.weights[-1] + 1)
            if last:
                cycles.sums.append(step + config.latency - 1)
        pops.append(step)

    now = -1
    for elements, count in vectors:
        held: int | None = None
        for active in [*elements, None]:
            now += 1
            if active is False:
                cycles.channels.append(now)
                continue
            last = active is None
            queued = held is not None or last
            if queued and len(pops) >= config.in_flight:
                now = max(now, pops[-config.in_flight] + 1)
            cycles.channels.append(now)
            if queued:
                queue_column(now, held, count, last)
            if active:
                held = now
                cycles.requests.append(now)
    return cycles
