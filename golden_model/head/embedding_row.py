# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.head.embedding_row`."""

from typing import NamedTuple

from golden_model.arrays import Codes
from golden_model.head_config import PLANES, EmbeddingRowConfig

__all__ = ["RowCycles", "addresses", "cycles", "row"]


class RowCycles(NamedTuple):
    """Cycles after the command's offer, if nobody stalls."""

    requests: list[int]
    codes: list[int]


def addresses(config: EmbeddingRowConfig, token: int, address: int, tiles: int) -> list[int]:
    """Beats that are asked for, in order: of each tile its planes."""
    block = address + token // config.rows * PLANES * tiles
    return [block + plane * tiles + tile for tile in range(tiles) for plane in range(PLANES)]


def row(config: EmbeddingRowConfig, codes: Codes) -> list[list[int]]:
    """Beats of one row's codes; the last is as the image fills it up, with zeros."""
    padded = [*codes.tolist(), *[0] * (-codes.size % config.lanes)]
    return [padded[n:n + config.lanes] for n in range(0, len(padded), config.lanes)]


def cycles(config: EmbeddingRowConfig, n: int, latency: int) -> RowCycles:
    """Cycles of one row of `n` elements from a memory of that latency, a beat a cycle.

    Two cycles make the address, then a request leaves each cycle.  A tile's codes follow its third
    beat, and the next tile's beats the last of them.
    """
    tiles, beats = -(-n // config.width), -(-n // config.lanes)
    requests = list(range(2, 2 + PLANES * tiles))
    codes: list[int] = []
    free = 0
    for tile in range(tiles):
        for request in requests[PLANES * tile:PLANES * (tile + 1)]:
            free = max(free, request + latency) + 1
        count = min(config.parts, beats - len(codes))
        codes += range(free, free + count)
        free += count
    return RowCycles(requests, codes)
