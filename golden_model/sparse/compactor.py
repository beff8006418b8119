# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.compactor`."""

import numpy as np

from golden_model.arrays import Bools, Codes, Ints
from golden_model.sparse_config import CompactorConfig

__all__ = ["Emission", "beat_counts", "compact", "emission_cycles", "transfers"]


def compact(config: CompactorConfig, codes: Codes, keep: Bools) -> tuple[Ints, Codes]:
    """Return indices and codes [nnz] of the kept elements of `codes` [n], in index order."""
    kept = keep & (codes != 0) if config.drop_zeros else keep
    index = np.flatnonzero(kept).astype(np.int64)
    return index, codes[index]


def beat_counts(config: CompactorConfig, codes: Codes, keep: Bools) -> list[int]:
    """Return how many elements each beat of the vector emits."""
    index, _ = compact(config, codes, keep)
    counts: list[int] = np.bincount(index // config.lanes,
                                    minlength=-(-codes.size // config.lanes)).tolist()
    return counts


def transfers(config: CompactorConfig, codes: Codes, keep: Bools) -> list[list[tuple[int, int]]]:
    """Return the (index, code) pairs of every transfer; none in the last, which is the end's."""
    index, kept = compact(config, codes, keep)
    rest = [*zip(index.tolist(), kept.tolist())]
    sent: list[list[tuple[int, int]]] = []
    for count in beat_counts(config, codes, keep):
        beat, rest = rest[:count], rest[count:]
        sent += [beat[n:n + config.emit] for n in range(0, count, config.emit)]
    return [*sent, []]


class Emission:
    """Cycles of every transfer of one vector, beat by beat, while ``o`` is always ready."""

    def __init__(self, config: CompactorConfig) -> None:
        self.config = config
        self.taken: list[int] = []
        """The cycle in which each beat passes ``i``."""
        self.emitted: list[int] = []
        """The cycle of each transfer on ``o``, the last being the end marker."""
        self._left: list[int] = []  # the cycle in which each queued beat leaves the queue

    def offer(self, arrival: int, count: int, last: bool) -> int:
        """Return when a beat with `count` elements is taken that is offered from `arrival` on."""
        at = max(arrival, self.taken[-1] + 1 if self.taken else 0)
        if len(self._left) >= self.config.queue:
            at = max(at, self._left[-self.config.queue] + 1)
        self.taken.append(at)
        if items := -(-count // self.config.emit) + last:
            start = max(at + self.config.latency, self._left[-1] + 1 if self._left else 0)
            self.emitted.extend(range(start, start + items))
            self._left.append(start + items - 1)
        return at


def emission_cycles(config: CompactorConfig, counts: list[int]) -> tuple[list[int], list[int]]:
    """Cycles of the transfers on ``i`` and on ``o``; ``i`` is valid from cycle 0 on."""
    model = Emission(config)
    for beat, count in enumerate(counts):
        model.offer(beat, count, beat == len(counts) - 1)
    return model.taken, model.emitted
