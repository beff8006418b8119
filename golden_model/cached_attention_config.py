# SPDX-License-Identifier: Apache-2.0
"""Parameters of attention with its quantiser, cache and joiner (standard library only)."""

import dataclasses
from dataclasses import dataclass

from golden_model.attention_config import AttentionConfig
from golden_model.config import WORD_BITS, ModelShape, Numerics, _require
from golden_model.head_joiner_config import HeadJoinerConfig
from golden_model.kv_config import KvCacheConfig
from golden_model.kv_row_config import RowQuantiserConfig

__all__ = ["MOST_ROWS", "CachedAttentionConfig"]

MOST_ROWS = 4096
"""Cached rows that the shift of the outputs is made for, however many there are."""


@dataclass(frozen=True, kw_only=True)
class CachedAttentionConfig:
    """Geometry of one decoder's attention and of the cache that it reads."""

    attention: AttentionConfig
    cache: KvCacheConfig
    grouped: bool = False
    """Order of the heads that come in: keys, values, queries; or, grouped, of each KV head the
    queries of its first pass, its key, its value and its other queries."""

    def __post_init__(self) -> None:
        attention, cache = self.attention, self.cache
        for name, mine, theirs in (("lanes", "lanes", "lanes"), ("kv_bits", "kv_bits", "code_bits"),
                                   ("bos_bits", "bos_bits", "bos_bits"),
                                   ("slots", "slots", "slots"),
                                   ("row_words", "row_words", "max_words")):
            found, wanted = getattr(cache, mine), getattr(attention, theirs)
            _require(found == wanted,
                     f"cache.{name} must be attention.{theirs} ({wanted}), not {found}")
        _require(cache.window <= attention.max_rows,
                 f"cache.window must be at most attention.max_rows ({attention.max_rows}), not "
                 f"{cache.window}")
        _require(attention.streams <= cache.sinks,
                 f"cache.sinks must be at least attention.streams ({attention.streams}), not "
                 f"{cache.sinks}")
        # Their limits are this configuration's too.
        _ = self.quantiser, self.joiner

    @classmethod
    def of(cls, shape: ModelShape, numerics: Numerics, *, lanes: int, queries: int, window: int,
           slots: int = 1, beat: int = 4, abreast: int = 2, digits: int = 3,
           grouped: bool = False, rows_per_stage: int = 3, form: str = "booth",
           ports: str = "1r1w", batch: int = 1) -> "CachedAttentionConfig":
        """Geometry that holds `slots` sequences of one model, as `AttentionConfig.of` has it."""
        attention = dataclasses.replace(AttentionConfig.of(
            shape, numerics, lanes=lanes, queries=queries, window=window, abreast=abreast,
            digits=digits, rows_per_stage=rows_per_stage, form=form), slots=slots, beat=beat)
        streams = attention.streams
        return cls(attention=attention, grouped=grouped, cache=KvCacheConfig(
            lanes=lanes, rows=slots * streams * (window - 1), sinks=slots * streams,
            row_words=attention.max_words, window=window, slots=slots,
            kv_bits=attention.code_bits, bos_bits=attention.bos_bits, ports=ports,
            batch=batch))

    @property
    def beat(self) -> int:
        """Words in, and words out, a cycle."""
        return self.attention.beat

    @property
    def ahead(self) -> int:
        """Queries of a KV head that come ahead of its key, or 0: they do not."""
        return self.attention.queries if self.grouped else 0

    @property
    def max_n(self) -> int:
        """Longest head."""
        return self.attention.max_words * self.attention.lanes

    @property
    def quantiser(self) -> RowQuantiserConfig:
        """Configuration of what codes queries, keys and values."""
        attention = self.attention
        return RowQuantiserConfig(lanes=self.beat, max_n=self.max_n,
                                  code_bits=max(attention.query_bits, attention.bos_bits),
                                  minmax=attention.kv_code == "minmax",
                                  digits=attention.digits,
                                  rows_per_stage=attention.rows_per_stage, form=attention.form)

    @property
    def joiner(self) -> HeadJoinerConfig:
        """Configuration of what puts the heads on one scale."""
        attention = self.attention
        return HeadJoinerConfig(lanes=self.beat, max_n=attention.max_heads * self.max_n,
                                max_heads=attention.max_heads,
                                sum_bits=attention.weighted_sum.sum_bits,
                                rows_per_stage=attention.rows_per_stage, form=attention.form)

    @property
    def move_latency(self) -> int:
        """Cycles by which a command begins later whose token is not the one before's."""
        return 3

    @property
    def output_shift(self) -> int:
        """Shift that keeps the largest sum of `MOST_ROWS` rows within a word."""
        attention = self.attention
        rows, first = (1 << bits - 1 if attention.kv_code == "symmetric" else (1 << bits) - 1
                       for bits in (attention.code_bits, attention.bos_bits))
        peak = (MOST_ROWS - 1) * rows + first
        return peak.bit_length() + attention.weight_bits - (WORD_BITS - 17)
