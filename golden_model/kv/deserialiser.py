# SPDX-License-Identifier: Apache-2.0
"""Rows of a saved sequence, from their beats."""

from collections.abc import Iterator, Sequence

from golden_model.kv_config import BEAT_BITS, CODE_BITS, KvCacheConfig

__all__ = ["rows_of_beats"]


def rows_of_beats(config: KvCacheConfig, words: int,
                  beats: Sequence[int]) -> Iterator[tuple[list[list[int]], int]]:
    """Yield memory words and scale of each row; `beats` holds whole rows of `words` words."""
    size = words * config.row_beats + 1
    for start in range(0, len(beats), size):
        *codes, scale = beats[start:start + size]
        row = []
        for word in range(words):
            part = codes[word * config.row_beats:(word + 1) * config.row_beats]
            bits = sum(beat << BEAT_BITS * n for n, beat in enumerate(part))
            row.append([bits >> CODE_BITS * n & (1 << CODE_BITS) - 1 for n in range(config.lanes)])
        yield row, scale
