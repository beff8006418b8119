# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.cached_attention`: words of tokens.

Cycles are in :mod:`golden_model.attention.cached_attention_cycles`.
"""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Floats, Ints
from golden_model.attention.attend import AttentionWidths, attend
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ModelShape, Numerics
from golden_model.kv.cache import KvCache
from golden_model.kv.row_code import (
    decode_row_scale,
    encode_row_scale,
    quantize_query,
    quantize_row,
    row_steps,
    row_zeros,
)

__all__ = ["CachedAttention", "Words", "command_fields"]


class Words(NamedTuple):
    """Heads of one kind of one token, rotated: 24-bit words [heads, n] of one scale."""

    x: Ints
    scale: Floats


def command_fields(config: CachedAttentionConfig, heads: int, kv_heads: int,
                   n: int) -> dict[str, int]:
    """Fields of a command that a model's shape gives."""
    attention = config.attention
    return {"heads": heads, "kv_heads": kv_heads, "n": n, "beats": -(-n // config.beat),
            "words": -(-n // attention.lanes), "passes": heads // attention.queries,
            "shared": heads // attention.queries // kv_heads}


class CachedAttention:
    """Tokens in the order in which they are given; `cache` takes the control commands.

    Parameters
    ----------
    config
        Geometry.
    shape, numerics
        Of the model.
    """

    def __init__(self, config: CachedAttentionConfig, shape: ModelShape,
                 numerics: Numerics) -> None:
        self.config, self.cache = config, KvCache(config.cache)
        self._shape, self._numerics = shape, numerics
        self._widths = AttentionWidths.of(shape, numerics)

    def token(self, slot: int, stream: int, q: Words, k: Words, v: Words) -> tuple[Ints, Floats]:
        """Append keys and values to streams from `stream` on; words [heads * n] and their scale."""
        numerics = self._numerics
        bits = numerics.kv_bits if self.cache.length(slot) else numerics.bos_bits
        for value, rows in enumerate((k, v)):
            codes, scales = quantize_row(rows.x, rows.scale, bits, numerics.kv_code)
            stored = encode_row_scale(scales, row_zeros(rows.x, bits, numerics.kv_code),
                                      numerics.kv_code)
            for head, row in enumerate(codes):
                self.cache.append(slot, stream + head, bool(value), self._words(row),
                                  int(stored[head]))
        queries, q_scale = quantize_query(q.x, q.scale, numerics.q_bits)
        sides, key_scale, value_scale = self._rows(slot, stream, len(k.x))
        keys, values = sides
        words, scale = attend(
            queries[None, None], q_scale[None, None], keys.astype(self._widths.score_carrier),
            key_scale, values.astype(self._widths.output_carrier), value_scale,
            np.ones((1, keys.shape[2]), np.bool_), self._widths)
        return words[0, 0], scale[0, 0]

    def _words(self, row: Ints) -> list[list[int]]:
        """Memory words of a row; codes past its end are zero."""
        lanes = self.config.cache.lanes
        padded: list[list[int]] = np.pad(row, (0, -row.size % lanes)).reshape(-1, lanes).tolist()
        return padded

    def _rows(self, slot: int, stream: int, heads: int) -> tuple[Ints, Floats, Floats]:
        """Read steps [2, 1, heads, T, n] and scales [1, heads, T] of what the newest token sees.

        Scales, and zero points, come with the keys.
        """
        numerics, n = self._numerics, self._shape.head_dim
        code = numerics.kv_code
        steps: tuple[list[Ints], list[Ints]] = [], []
        scales = []
        for head in range(heads):
            sides = [self.cache.read(slot, stream + head, value) for value in (False, True)]
            stored = [[word.scale, word.value_scale] for word in sides[0] if word.last_word]
            both, zeros = decode_row_scale(np.array(stored), code)
            scales.append(both)
            for words, zero, to in zip(sides, zeros.T, steps):
                ends = [word for word in words if word.last_word]
                rows = np.array([word.codes for word in words]).reshape(len(ends), -1)[:, :n]
                to.append(np.array([
                    row_steps(row, numerics.bos_bits if end.bos else numerics.kv_bits, code, mine)
                    for row, end, mine in zip(rows, ends, zero)]))
        found = np.array(scales)[None]
        return np.array(steps)[:, None], found[..., 0], found[..., 1]
