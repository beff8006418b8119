# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.attention`: sums and scales of heads, and every transfer.

:func:`golden_model.attention.attend.attend` is the same as a whole, heads joined on one scale.
"""

import math
from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.attention.head_scales import HeadScalesCycles, code_ratio, head_scale, score_unit
from golden_model.attention.log_score import log_scores
from golden_model.attention.score import Load, ScoreCycles, Word, row_words, scores
from golden_model.attention.softmax import FRACTION_BITS
from golden_model.attention.softmax_cycles import SoftmaxCycles
from golden_model.attention.value_weight import common_exponent, value_weights
from golden_model.attention.weighted_sum import WeightedSumCycles, weighted_sums
from golden_model.attention_config import AttentionConfig
from golden_model.control.slack import SlackSteps
from golden_model.quant_config import SmallFloatUnitConfig
from golden_model.quick_float_config import QuickFloatConfig

__all__ = ["AttentionCycles", "EngineCycles", "EngineStep", "PassWeights", "attention_cycles",
           "attention_heads", "bounds", "pass_weights", "score_scale_of"]


class PassWeights(NamedTuple):
    """What the softmax makes of a pass's scores."""

    codes: Ints
    """Codes of the value weights [T, queries]."""
    peaks: Ints
    """Largest value weight of each head [queries]."""
    totals: Ints
    """Sum of softmax weights of each head [queries]."""
    exponent: int
    """Common exponent of the value rows' scales."""


def score_scale_of(head_dim: int) -> Floats:
    """Small float that a command carries: ``2**8 log2(e) / sqrt(head_dim)``."""
    return smallfloat.from_float(math.log2(math.e) * 2 ** FRACTION_BITS / math.sqrt(head_dim))


def pass_weights(sums: Ints, unit: Floats, key_scale: Floats, value_scale: Floats,
                 weight_bits: int) -> PassWeights:
    """Softmax of scores [T, queries] under units [queries] and the rows' scales [T]."""
    z = log_scores(sums, unit, key_scale[:, None])
    exponent = common_exponent(value_scale)
    p, w = value_weights((z.max(axis=0) - z).T, value_scale, exponent)
    peaks = w.max(axis=1)
    codes = np.rint(w * code_ratio(peaks, weight_bits)[:, None])
    limited = np.minimum(codes, (1 << weight_bits) - 1).astype(np.int64)
    return PassWeights(limited.T, peaks, p.sum(axis=1), exponent)


def attention_heads(config: AttentionConfig, q: Ints, q_scale: Floats, score_scale: Floats,
                    keys: Ints, key_scale: Floats, values: Ints, value_scale: Floats,
                    zeros: tuple[Ints, Ints] | None = None) -> tuple[Ints, Floats]:
    """Compute sums [H, n] and scales [H] of one token's heads.

    Parameters
    ----------
    q, q_scale
        Query codes [H, n] and scales [H].
    score_scale
        Small float of ``2**8 log2(e) / sqrt(n)``.
    keys, values
        Codes of the visible rows [G, T, n], the BOS row first.
    key_scale, value_scale
        Their scales [G, T].
    zeros
        Zero points of keys and values [G, T], if they have some.
    """
    group = q.shape[0] // keys.shape[0]
    sums, scale = [], []
    key_zero, value_zero = zeros or (np.zeros(keys.shape[:2], np.int64),) * 2
    for n in range(keys.shape[0]):
        heads = slice(n * group, (n + 1) * group)
        found = pass_weights(scores(config.score, q[heads], keys[n], key_zero[n]),
                             score_unit(q_scale[heads], score_scale), key_scale[n], value_scale[n],
                             config.weight_bits)
        sums.append(weighted_sums(config.weighted_sum, found.codes, values[n], value_zero[n]))
        scale.append(head_scale(found.peaks, found.totals, found.exponent, config.weight_bits))
    return np.concatenate(sums), np.concatenate(scale)


class AttentionCycles(NamedTuple):
    """Cycles of all transfers of one command, which is taken in cycle 0."""

    queries: list[int]
    keys: list[int]
    values: list[int]
    sums: list[int]
    scales: list[int]

    @property
    def total(self) -> int:
        """Cycles from the command to the last result, both included."""
        return max(self.sums[-1], self.scales[-1]) + 1


def bounds(config: AttentionConfig, heads: int, kv_heads: int, rows: int,
           head_dim: int) -> dict[str, int]:
    """Least cycles that parts of the work take by themselves.

    ``array``: products of queries with keys and of weights with values, on one array that takes
    ``lanes`` codes for ``queries`` heads a cycle; ``cache``: rows of keys, read once for each KV
    head on a port of their own, as those of values are; ``engines``: the passes on the two engines
    there are, side by side; ``dependent``: the same, and the last pass's rows of values after its
    rows of keys.
    """
    words = -(-head_dim // config.lanes)
    passes = heads // config.queries
    return {"array": 2 * passes * rows * words, "cache": kv_heads * rows * words,
            "engines": passes * rows * words, "dependent": (passes + 1) * rows * words}


class EngineStep(NamedTuple):
    """What is transferred in one cycle."""

    query: bool
    query_scale: bool
    """``i_query_scale.ready``."""
    key: bool
    value: bool
    sum: bool
    scale: bool


class EngineCycles:
    """Handshakes of attention in one command, whose passes it has been given, cycle by cycle.

    `unit` is what each head's small floats are made by.
    """

    def __init__(self, config: AttentionConfig, unit: QuickFloatConfig | SmallFloatUnitConfig,
                 passes: int, load: Load) -> None:
        self.score, self.weighted = ScoreCycles(config.score), WeightedSumCycles(
            config.weighted_sum)
        self.softmax, self.scales = SoftmaxCycles(config.softmax), HeadScalesCycles(
            config.softmax, unit)
        self.room = SlackSteps()   # between softmax and weighted sums
        self.load = load
        self.waiting = [passes, passes]
        """Passes that scores and weighted sums were not told of yet."""

    def step(self, query: bool, query_scale: bool, key: Word | None, value: Word | None,
             sum_ready: bool, scale_ready: bool) -> EngineStep:
        """Go through one cycle, given what is offered and taken."""
        score, softmax, scales = self.score, self.softmax, self.scales
        command, then = (self.load if left else None for left in self.waiting)
        # Whether something is valid does not depend on who takes it.
        unit_valid, ratio_valid = scales.unit_valid, scales.ratio_valid
        coded, takes = softmax.pipe[-1], self.room.ready
        weights = self.weighted.step(then, self.room.valid(coded), value, sum_ready)
        self.room.tick(coded, weights.weight)
        shown = softmax.step(unit_valid, score.last if score.valid else None,
                             scales.takes_total, ratio_valid, takes)
        found = score.step(command, query, key, shown.i)
        scalar = scales.step(query_scale, shown.unit, shown.total, shown.ratio, scale_ready)
        self.waiting[0] -= found.command
        self.waiting[1] -= weights.command
        return EngineStep(found.query, scalar.query, found.row, weights.row, weights.o,
                          scalar.scale)


def attention_cycles(config: AttentionConfig, unit: QuickFloatConfig | SmallFloatUnitConfig, *,
                     heads: int, rows: int, head_dim: int) -> AttentionCycles:
    """Cycles while all inputs are offered, all results are taken and each head has its own unit."""
    passes, words = heads // config.queries, -(-head_dim // config.lanes)
    load = Load(-(-head_dim // config.beat), words)
    engine, row = EngineCycles(config, unit, passes, load), row_words(rows, words)
    engine.waiting = [0, 0]  # the command is taken in cycle 0
    took = AttentionCycles([], [], [], [], [])
    queries, cycle = heads, 0
    while len(took.sums) < heads * load.beats or len(took.scales) < heads:
        key, value = (row[len(port) % len(row)] if len(port) < passes * len(row) else None
                      for port in (took.keys, took.values))
        found = engine.step(len(took.queries) < heads * load.beats, queries > 0, key, value,
                            True, True)
        queries -= found.query_scale and queries > 0
        for port, taken in ((took.queries, found.query), (took.keys, found.key),
                            (took.values, found.value), (took.sums, found.sum),
                            (took.scales, found.scale)):
            if taken:
                port.append(cycle)
        if not cycle:
            engine.waiting = [passes, passes]
        cycle += 1
    return took
