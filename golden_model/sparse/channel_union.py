# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.channel_union`: values and cycles."""

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.batch_config import ChannelUnionConfig

__all__ = ["channel_union", "union_cycles"]


def channel_union(codes: Codes) -> tuple[Ints, Codes]:
    """Return the channels [nnz] that any of the vectors [tokens, n] has, and the codes there."""
    index = np.flatnonzero(codes.any(axis=0)).astype(np.int64)
    return index, codes[:, index]


def union_cycles(config: ChannelUnionConfig, batches: list[tuple[list[int], int]],
                 ) -> tuple[list[int], list[int]]:
    """Cycles of every transfer on ``i`` and on ``o``, if both sides are always ready.

    Parameters
    ----------
    batches
        For each batch the channels of each of its vectors, and those of the union.
    """
    taken: list[int] = []
    left: list[int] = []
    for counts, union in batches:
        start = left[-1] + 1 if left else 0
        taken += range(start, start + sum(counts) + len(counts))
        first = taken[-1] + config.latency
        left += range(first, first + union + 1)
    return taken, left
