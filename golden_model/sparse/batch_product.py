# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.batch_product`: values and cycles."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.batch_config import BatchProductConfig
from golden_model.sparse.sparse_product import SparseCycles

__all__ = ["BatchVectors", "batch_cycles", "batch_product"]


class BatchVectors(NamedTuple):
    """What the cycles of one batch depend on."""

    channels: list[int]
    """For each channel on ``i``, how many tokens' codes are not zero."""
    tokens: int
    blocks: int


def batch_product(config: BatchProductConfig, codes: Codes, weights: Codes) -> Ints:
    """Return sums [blocks * tokens, width] of codes [tokens, n] times weights [M, n].

    Those of all tokens for the first block of outputs, then for the second; filled up with zeros.
    """
    sums = codes.astype(np.int64) @ weights.T.astype(np.int64)
    padded = np.pad(sums, ((0, 0), (0, -sums.shape[1] % config.width)))
    by_block: Ints = padded.reshape(len(codes), -1, config.width).swapaxes(0, 1)
    return by_block.reshape(-1, config.width)


class _Adder:
    """Beats of columns, each for one token after another."""

    def __init__(self, config: BatchProductConfig, latency: int) -> None:
        self.config, self.latency = config, latency
        self.weights: list[int] = []
        self.sums: list[int] = []
        self.pops: list[int] = []
        """The cycle in which each queued column was used up."""
        self._step = self._unpacked = -1

    def column(self, queued: int, requested: int | None, blocks: int, turns: int,
               last: bool) -> None:
        """Add the beats of a column, or of none, each in so many turns."""
        for _ in range(blocks):
            self._step = max(self._step, queued)
            if requested is not None:
                # A beat passes into the unpacker as the one before leaves it.
                self.weights.append(max(requested + self.latency, self._unpacked,
                                        self.weights[-1] + 1 if self.weights else 0))
                self._step = max(self._step, self.weights[-1])
            for _ in range(turns):
                self._step += 1
                if last:
                    self.sums.append(self._step + self.config.latency - 1)
            if requested is not None:
                self._unpacked = self._step
        self.pops.append(self._step)


def batch_cycles(config: BatchProductConfig, batches: list[BatchVectors],
                 latency: int) -> SparseCycles:
    """Cycles while all inputs are valid as early as can be and all outputs always ready.

    Parameters
    ----------
    latency
        Cycles from a request to its first beat on ``i_weights``, at least 1; one beat a cycle.
    """
    channels: list[int] = []
    requests: list[int] = []
    adder = _Adder(config, latency)
    now = -1
    for batch in batches:
        held: tuple[int, int] | None = None  # when the column was requested, and its turns
        first = True
        for active in [*batch.channels, None]:
            now += 1
            if active == 0:
                channels.append(now)
                continue
            last = active is None
            if held is not None or last:
                if len(adder.pops) >= config.in_flight:
                    now = max(now, adder.pops[-config.in_flight] + 1)
                requested, turns = held or (None, 0)
                adder.column(now, requested, batch.blocks,
                             batch.tokens if first or last else turns, last)
                first = False
            channels.append(now)
            if active is not None:
                held = now, active
                requests.append(now)
    return SparseCycles(channels, requests, adder.weights, adder.sums)
