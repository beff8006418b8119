# SPDX-License-Identifier: Apache-2.0
"""A saved row: 32-bit beats of eight codes each, the first code lowest; then its scale.

Each memory word begins with a new beat, whose spare bits are zero.
"""

from collections.abc import Sequence

from golden_model.kv_config import BEAT_BITS, CODE_BITS

__all__ = ["row_beats"]


def row_beats(words: Sequence[Sequence[int]], scale: int) -> list[int]:
    """Beats of one row, whose memory words are `words`."""
    per_beat = BEAT_BITS // CODE_BITS
    return [*(sum(code << CODE_BITS * n for n, code in enumerate(word[start:start + per_beat]))
              for word in words for start in range(0, len(word), per_beat)), scale]
