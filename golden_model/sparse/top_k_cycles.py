# SPDX-License-Identifier: Apache-2.0
"""Cycles of :mod:`hw.sparse.top_k`; its values are those of :mod:`golden_model.sparse.top_k`."""

from typing import NamedTuple

from golden_model.sparse.compactor import Emission
from golden_model.sparse_config import TopKConfig

__all__ = ["TopKCycles", "top_k_cycles"]


class TopKCycles(NamedTuple):
    """The cycle of every transfer of one vector, its command being taken in cycle 0."""

    loaded: list[int]
    """Beats on ``i``."""
    masked: list[int]
    """Beats on ``o_mask``."""
    emitted: list[int]
    """Transfers on ``o``, the end marker included; nothing with ``mask_only``."""
    next_command: int
    """Earliest on ``i_command``; its vector's first beat comes a cycle later at the earliest."""
    cleared: int
    """Earliest for the first beat of a vector that is selected as a whole."""


def top_k_cycles(config: TopKConfig, counts: list[int], *, blocks: bool = False,
                 mask_only: bool = False) -> TopKCycles:
    """Cycles of an idle unit while ``i`` is always valid, ``o_mask`` and ``o`` are always ready.

    Parameters
    ----------
    counts
        Elements to emit from each beat of the vector, as
        :func:`golden_model.sparse.compactor.beat_counts` gives them.
    blocks
        Block mode.
    mask_only
        Nothing is emitted, so nothing holds the mask back.
    """
    beats = len(counts)
    segment = config.block_size // config.lanes if blocks else beats
    search = (config.block_selector.bit_serial_latency if blocks
              else config.selector.histogram_latency)
    loaded: list[int] = []
    masked: list[int] = []
    released = 0  # the cycle in which the latest beat has left the output stage
    output = Emission(config.compactor)
    ready = 1  # the cycle in which the search takes the next segment's first beat
    result_taken = -1
    for first in range(0, beats, segment):
        end = min(first + segment, beats)
        loaded.extend(range(ready, ready + end - first))
        # A search ends once its predecessor's result was taken; the output stage takes a result
        # with the last beat of the segment before.
        ready = max(loaded[-1] + search, result_taken + 1)
        result_taken = max(ready, released)
        for beat in range(first, end):
            offered = max(result_taken, released) + 1
            masked.append(offered)
            released = (offered if mask_only
                        else output.offer(offered, counts[beat], beat == beats - 1))
    cleared = 0 if blocks else result_taken + 1 + config.selector.histogram_clear
    return TopKCycles(loaded, masked, output.emitted, released + 1, cleared)
