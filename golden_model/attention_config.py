# SPDX-License-Identifier: Apache-2.0
"""Parameters of attention and its two engines (standard library only).

Latencies are cycles from a transfer on ``i`` to ``o.valid`` without backpressure.
"""

from dataclasses import dataclass

from golden_model.config import (
    WORD_BITS,
    ModelShape,
    Numerics,
    _at_least,
    _ceil_div,
    _one_of,
    _require,
)
from golden_model.quant_config import MANTISSA_BITS
from golden_model.quick_float_config import QuickFloatConfig
from golden_model.softmax_config import SoftmaxConfig

__all__ = ["AttentionConfig", "ScoreConfig", "SignDotConfig", "SoftmaxConfig",
           "WeightedSumConfig"]


_KV_CODES = ("midrise", "symmetric", "minmax")


def _twice_peak(bits: int, kv_code: str) -> int:
    """Return the largest step of a mid-rise code, twice that of another."""
    return ((1 << bits) - (kv_code != "symmetric")) << (kv_code == "minmax")


def _check_codes(code_bits: int, bos_bits: int) -> None:
    _require(1 <= code_bits <= 8, f"code_bits must lie in 1..8, not {code_bits}")
    _require(bos_bits - code_bits in (0, 1),
             f"bos_bits must be code_bits ({code_bits}) or one more, not {bos_bits}")


@dataclass(frozen=True, kw_only=True)
class SignDotConfig:
    """Geometry of one dot product of a query with mid-rise codes."""

    lanes: int = 32
    query_bits: int = 8
    code_bits: int = 3
    levels_per_stage: int = 2
    """Adder levels between two registers."""

    def __post_init__(self) -> None:
        _at_least(self, lanes=2, query_bits=2, code_bits=1, levels_per_stage=1)
        _require(self.lanes % 2 == 0, f"lanes must be even, not {self.lanes}")
        _require(self.query_bits <= 12, f"query_bits must be at most 12, not {self.query_bits}")
        _check_codes(self.code_bits, self.code_bits)

    @property
    def pairs(self) -> int:
        """Pairs of neighbouring lanes, which the query comes in."""
        return self.lanes // 2

    @property
    def pair_bits(self) -> int:
        """Bits of the sum, or difference, of two query codes."""
        return self.query_bits + 1

    @property
    def sum_bits(self) -> int:
        """Signed bits of a sum."""
        peak = (1 << self.query_bits - 1) * self.lanes * ((1 << self.code_bits) - 1)
        return peak.bit_length() + 1

    @property
    def levels(self) -> int:
        """Levels of a plane's adder tree over the pairs."""
        return (self.pairs - 1).bit_length()

    @property
    def latency(self) -> int:
        """Cycles from operands to sum: the trees, then the planes in one."""
        return _ceil_div(self.levels, self.levels_per_stage) + 1


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Geometry of the scores: rows of keys against `queries` heads at once."""

    lanes: int = 32
    """Codes of a row a cycle."""
    queries: int = 1
    """Heads that share a row."""
    beat: int = 4
    """Query codes a cycle."""
    max_words: int = 1
    """Words of ``lanes`` codes in the longest row."""
    query_bits: int = 8
    code_bits: int = 3
    bos_bits: int = 4
    kv_code: str = "midrise"
    """``midrise``, steps ``2 u - L``; ``symmetric``, ``u - 2**(bits - 1)``; ``minmax``, ``u - z``
    with a zero point of each row."""
    levels_per_stage: int = 2

    def __post_init__(self) -> None:
        _at_least(self, queries=1, beat=2, max_words=1)
        _one_of(self, kv_code=_KV_CODES)
        _ = self.dot
        _check_codes(self.code_bits, self.bos_bits)
        _require(self.beat % 2 == 0, f"beat must be even, not {self.beat}")
        _require(self.lanes % self.beat == 0,
                 f"lanes must be a multiple of beat ({self.beat}), not {self.lanes}")

    @property
    def dot(self) -> SignDotConfig:
        """Configuration of one head's dot product."""
        return SignDotConfig(lanes=self.lanes, query_bits=self.query_bits,
                             code_bits=self.code_bits, levels_per_stage=self.levels_per_stage)

    @property
    def max_beats(self) -> int:
        """Beats of the longest query."""
        return self.max_words * self.lanes // self.beat

    @property
    def sum_bits(self) -> int:
        """Signed bits of a score, a BOS row's included."""
        peak = (1 << self.query_bits - 1) * _twice_peak(self.bos_bits, self.kv_code)
        return (peak * self.lanes * self.max_words).bit_length() + 1

    @property
    def latency(self) -> int:
        """Cycles from a row's last word to its scores: queries read, dot product, sum of words."""
        return 1 + self.dot.latency + 1


@dataclass(frozen=True, kw_only=True)
class WeightedSumConfig:
    """Geometry of the weighted sums: rows of values times codes, for `queries` heads at once."""

    lanes: int = 32
    queries: int = 1
    beat: int = 4
    """Sums delivered a cycle."""
    max_words: int = 1
    max_rows: int = 128
    weight_bits: int = 8
    code_bits: int = 3
    bos_bits: int = 4
    kv_code: str = "midrise"

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, queries=1, beat=1, max_words=1, max_rows=1)
        _one_of(self, kv_code=_KV_CODES)
        _require(2 <= self.weight_bits <= 16,
                 f"weight_bits must lie in 2..16, not {self.weight_bits}")
        _check_codes(self.code_bits, self.bos_bits)
        _require(self.lanes % self.beat == 0,
                 f"lanes must be a multiple of beat ({self.beat}), not {self.lanes}")

    @property
    def max_beats(self) -> int:
        """Beats of the longest row's sums."""
        return self.max_words * self.lanes // self.beat

    @property
    def sum_bits(self) -> int:
        """Signed bits of a sum."""
        rows, first = (_twice_peak(bits, self.kv_code) for bits in (self.code_bits, self.bos_bits))
        peak = (self.max_rows - 1) * rows + first
        return (peak * ((1 << self.weight_bits) - 1)).bit_length() + 1

    @property
    def latency(self) -> int:
        """Cycles from a pass's last word to the sums' first beat."""
        return 6


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Geometry of one decoder's attention: two engines and a softmax between them."""

    lanes: int = 32
    """Codes of a key, and of a value, a cycle."""
    queries: int = 1
    """Heads that share a row, a divisor of the heads per KV head."""
    beat: int = 4
    """Query codes in, and sums out, a cycle."""
    max_words: int = 1
    """Words of ``lanes`` codes in the longest row."""
    max_rows: int = 128
    max_heads: int = 4
    """Most query heads, and most KV heads."""
    slots: int = 1
    """Sequences that the cache tells apart."""
    streams: int = 12
    """KV heads of all layers."""
    query_bits: int = 8
    weight_bits: int = 8
    code_bits: int = 3
    bos_bits: int = 4
    kv_code: str = "midrise"
    banks: int = 3
    """Passes whose scores are kept."""
    abreast: int = 2
    """Softmax weights of one head that are made in a cycle."""
    digits: int = 3
    """Quotient digits a cycle of the small-float units."""
    levels_per_stage: int = 2
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, max_heads=1, slots=1, streams=1)
        _ = self.score, self.softmax, self.weighted_sum, self.unit

    @classmethod
    def of(cls, shape: ModelShape, numerics: Numerics, *, lanes: int, queries: int, window: int,
           banks: int = 3, abreast: int = 2, digits: int = 3, rows_per_stage: int = 3,
           form: str = "booth") -> "AttentionConfig":
        """Geometry that holds one model.

        Raises
        ------
        ValueError
            The engines know no such codes, or `queries` does not divide the heads of a KV head.
        """
        group = shape.heads // shape.kv_heads
        _require(group % queries == 0,
                 f"queries must divide the heads of a KV head ({group}), not {queries}")
        finer_bos = max(0, numerics.bos_bits - numerics.kv_bits - 1)
        return cls(lanes=lanes, queries=queries, max_rows=window, banks=banks, abreast=abreast,
                   digits=digits, rows_per_stage=rows_per_stage, form=form,
                   max_words=_ceil_div(shape.head_dim, lanes), max_heads=shape.heads,
                   streams=shape.layers * shape.kv_heads, query_bits=min(numerics.q_bits, 12),
                   weight_bits=min(numerics.p_bits + finer_bos, MANTISSA_BITS),
                   code_bits=numerics.kv_bits, bos_bits=numerics.bos_bits,
                   kv_code=numerics.kv_code)

    @property
    def score(self) -> ScoreConfig:
        """Configuration of the keys' engine."""
        return ScoreConfig(lanes=self.lanes, queries=self.queries, beat=self.beat,
                           max_words=self.max_words, query_bits=self.query_bits,
                           code_bits=self.code_bits, bos_bits=self.bos_bits,
                           kv_code=self.kv_code, levels_per_stage=self.levels_per_stage)

    @property
    def softmax(self) -> SoftmaxConfig:
        """Configuration of the softmax."""
        return SoftmaxConfig(queries=self.queries, max_rows=self.max_rows,
                             sum_bits=self.score.sum_bits, weight_bits=self.weight_bits,
                             banks=self.banks, abreast=self.abreast,
                             zeros=self.kv_code == "minmax",
                             rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def unit(self) -> QuickFloatConfig:
        """Configuration of each head's small-float unit."""
        return QuickFloatConfig(digits=self.digits,
                                int_bits=max(WORD_BITS, self.softmax.total_bits),
                                rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def weighted_sum(self) -> WeightedSumConfig:
        """Configuration of the values' engine."""
        return WeightedSumConfig(lanes=self.lanes, queries=self.queries, beat=self.beat,
                                 max_words=self.max_words, max_rows=self.max_rows,
                                 weight_bits=self.weight_bits, code_bits=self.code_bits,
                                 bos_bits=self.bos_bits, kv_code=self.kv_code)
