# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.cached_attention`: words of tokens, and bounds of cycles."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Floats, Ints
from golden_model.attention.attend import AttentionWidths, attend
from golden_model.attention.attention import attention_cycles
from golden_model.attention.head_scales import PROGRAM
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ModelShape, Numerics
from golden_model.formats import decode_kv_scale, encode_kv_scale
from golden_model.kv.cache import KvCache
from golden_model.kv.row_code import quantize_query, quantize_row, row_steps
from golden_model.kv.row_quantiser import head_cycles
from golden_model.quant_config import SmallFloatUnitConfig

__all__ = ["CachedAttention", "CycleBounds", "Words", "command_fields", "cycle_bounds"]


class Words(NamedTuple):
    """Heads of one kind of one token, rotated: 24-bit words [heads, n] of one scale."""

    x: Ints
    scale: Floats


class CycleBounds(NamedTuple):
    """Cycles from a command to the last word of its first repeat."""

    least: int
    most: int


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
            for head, row in enumerate(codes):
                self.cache.append(slot, stream + head, bool(value), self._words(row),
                                  int(encode_kv_scale(scales[head])))
        queries, q_scale = quantize_query(q.x, q.scale, numerics.q_bits)
        (keys, key_scale), (values, value_scale) = (
            self._rows(slot, stream, len(k.x), value) for value in (False, True))
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

    def _rows(self, slot: int, stream: int, heads: int, value: bool) -> tuple[Ints, Floats]:
        """Read steps [1, heads, T, n] and scales [1, heads, T] of what the newest token sees."""
        numerics, n = self._numerics, self._shape.head_dim
        steps, scales = [], []
        for head in range(heads):
            words = self.cache.read(slot, stream + head, value)
            ends = [word for word in words if word.last_word]
            codes = np.array([word.codes for word in words]).reshape(len(ends), -1)[:, :n]
            steps.append([row_steps(row, numerics.bos_bits if end.bos else numerics.kv_bits,
                                    numerics.kv_code) for row, end in zip(codes, ends)])
            scales.append([end.scale for end in ends])
        return np.array(steps)[None], decode_kv_scale(np.array(scales, np.uint16))[None]


def cycle_bounds(config: CachedAttentionConfig, unit: SmallFloatUnitConfig, *, heads: int,
                 kv_heads: int, rows: int, n: int) -> CycleBounds:
    """Bounds while words are offered in time, results are taken, and the unit serves nobody else.

    At least, the last query is coded behind all other heads, and then its rows of keys and of
    values are read one after the other.  At most, nothing overlaps: all heads are coded and
    appended, attention runs behind its join, and each of its operations waits for one of each other
    client, and holds up the quantiser once.
    """
    attention, fields = config.attention, command_fields(config, heads, kv_heads, n)
    coded = head_cycles(config.quantiser, unit, [(n, "midrise")] * (2 * kv_heads)
                        + [(n, "query")] * heads)
    passes, words, beats = fields["passes"], fields["words"], fields["beats"]
    tail = config.joiner.latency + heads * beats
    least = coded[-1].codes[-1] + 2 * rows * words + tail - 1
    operation = max(unit.latency[name] for name in PROGRAM) + 1
    operations = passes * attention.queries * len(PROGRAM)
    contention = operations * operation * config.arbiter.clients
    appends = 2 * kv_heads * (words + 4)  # a word that is full, a look-up
    reads = 3 * passes * (config.cache.read_latency + 2)
    alone = attention_cycles(attention, unit, heads=heads, rows=rows, head_dim=n, joined=True)
    most = (max(coded[-1].codes[-1], coded[-1].scale) + appends + reads + alone.total + contention
            + tail)
    return CycleBounds(least, most)
