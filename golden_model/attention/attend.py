# SPDX-License-Identifier: Apache-2.0
"""Attention of queries over cached rows: grouped heads, two passes over a score buffer."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden_model import smallfloat
from golden_model.arrays import Bools, Floats, Ints
from golden_model.attention.softmax import FRACTION_BITS, exp2_weights
from golden_model.config import WORD_BITS, ModelShape, Numerics
from golden_model.formats import round_shift, saturate
from golden_model.kv.row_code import query_levels, row_peak
from golden_model.linear import Carrier, carrier_for

__all__ = ["MAX_ROWS", "AttentionWidths", "attend", "attend_float", "visible"]

MAX_ROWS = 4096
"""Most cached rows; sets the shift that keeps outputs within a word."""

_NO_SCORE = -(1 << 40)
_NO_EXPONENT = -(1 << 20)


def visible(start: int, count: int, window: int) -> Bools:
    """Rows that tokens ``start .. start + count - 1`` see: [count, start + count].

    A token sees itself, the ``window - 2`` tokens ahead of it and always row 0, the attention sink.
    """
    token = np.arange(start, start + count)[:, None]
    row = np.arange(start + count)
    return np.asarray((row <= token) & ((row > token - (window - 1)) | (row == 0)))


def attend_float(q: Floats, k: Floats, v: Floats, mask: Bools) -> Floats:
    """Softmax attention in real numbers.

    Parameters
    ----------
    q
        Queries [B, T, H, n].
    k, v
        Cached rows [B, G, S, n]; ``H / G`` neighbouring query heads share one of them.
    mask
        Rows that each token sees, [T, S].

    Returns
    -------
    Floats
        Head outputs [B, T, H * n].
    """
    batch, count, heads, n = q.shape
    grouped = q.reshape(batch, count, k.shape[1], -1, n).transpose(0, 2, 3, 1, 4)  # [B, G, g, T, n]
    scores = grouped @ k[:, :, None].swapaxes(-1, -2) / math.sqrt(n)               # [B, G, g, T, S]
    scores = np.where(mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    out: Floats = weights @ v[:, :, None]                                          # [B, G, g, T, n]
    return out.transpose(0, 3, 1, 2, 4).reshape(batch, count, heads * n)


class AttentionWidths(NamedTuple):
    """Constants of the exact attention that follow from shape and numerics."""

    score_scale: Floats
    """Small float of ``2**8 log2(e) / sqrt(head_dim)``."""
    weight_bits: int
    """Bits of a value weight: ``p_bits``, and more where BOS rows are much finer than others."""
    output_shift: int
    """Right shift that brings a head's output to a word, for up to `MAX_ROWS` rows."""
    score_carrier: Carrier
    output_carrier: Carrier

    @classmethod
    def of(cls, shape: ModelShape, numerics: Numerics) -> "AttentionWidths":
        """Widths for one model."""
        kv_peak = row_peak(numerics.kv_bits, numerics.kv_code)
        bos_peak = row_peak(numerics.bos_bits, numerics.kv_code)
        finer_bos = max(0, numerics.bos_bits - numerics.kv_bits - 1)
        weight_bits = min(numerics.p_bits + finer_bos, smallfloat.MANTISSA_BITS)
        rows_peak = (MAX_ROWS - 1) * kv_peak + bos_peak
        return cls(
            score_scale=smallfloat.from_float(
                math.log2(math.e) * 2 ** FRACTION_BITS / math.sqrt(shape.head_dim)),
            weight_bits=weight_bits,
            output_shift=rows_peak.bit_length() + weight_bits - (WORD_BITS - 17),
            score_carrier=carrier_for(shape.head_dim, query_levels(numerics.q_bits), bos_peak),
            output_carrier=carrier_for(1, rows_peak, (1 << weight_bits) - 1))


def attend(q: Ints, q_scale: Floats, k: NDArray[Any], k_scale: Floats,
           v: NDArray[Any], v_scale: Floats, mask: Bools,
           widths: AttentionWidths) -> tuple[Ints, Floats]:
    """Integer attention.

    Parameters
    ----------
    q
        Query codes [B, T, H, n].
    q_scale
        Small floats [B, T, H].
    k, v
        Steps of the cached rows [B, G, S, n], in `widths`' carriers.
    k_scale, v_scale
        Small floats [B, G, S].
    mask
        Rows that each token sees, [T, S]; at least one a token.

    Returns
    -------
    words
        24-bit words [B, T, H * n], all heads on one scale.
    scale
        Small floats [B, T].
    """
    batch, count, heads, n = q.shape
    groups, rows = k_scale.shape[1:]
    by_group = (batch, groups, -1, count, rows)
    # Pass 1: scores in log2 units with 8 fraction bits, and their maximum.
    q_rows = q.reshape(batch, count, groups, -1, n).transpose(0, 2, 3, 1, 4)       # [B, G, g, T, n]
    flat: NDArray[Any] = q_rows.astype(k.dtype).reshape(batch, groups, -1, n)
    sums = np.matmul(flat, k.swapaxes(-1, -2)).reshape(by_group)                   # [B, G, g, T, S]
    unit = smallfloat.mul(q_scale, widths.score_scale)                             # [B, T, H]
    unit = unit.reshape(batch, count, groups, -1).transpose(0, 2, 3, 1)[..., None]
    scores = smallfloat.scale_int(sums.astype(np.float64),
                                  smallfloat.mul(unit, k_scale[:, :, None, None, :]))
    scores = np.where(mask, scores, _NO_SCORE)
    # Pass 2: weights, and weights times the value rows' scales on one exponent.
    weights = exp2_weights(scores.max(axis=-1, keepdims=True) - scores)
    total = weights.sum(axis=-1)                                                   # [B, G, g, T]
    present = mask & (v_scale > 0)[:, :, None, :]                                  # [B, G, T, S]
    exponents = np.where(present, smallfloat.exponent(v_scale)[:, :, None, :], _NO_EXPONENT)
    common = np.maximum(exponents.max(axis=-1), smallfloat.EXPONENT_MIN)[:, :, None]  # [B, G, 1, T]
    scaled = np.rint(weights * np.ldexp(v_scale[:, :, None, None, :],
                                        (-8 - common)[..., None]))                 # 24 bits
    peak = smallfloat.from_int(scaled.max(axis=-1).astype(np.int64))               # [B, G, g, T]
    levels = smallfloat.constant((1 << widths.weight_bits) - 1)
    codes = np.minimum(np.rint(scaled * smallfloat.div(levels, peak)[..., None]), levels)
    flat = codes.astype(v.dtype).reshape(batch, groups, -1, rows)
    outputs = np.matmul(flat, v).reshape(*codes.shape[:-1], n).astype(np.int64)    # [B, G, g, T, n]
    per_weight = smallfloat.div(smallfloat.shift(np.ones_like(peak), 8 + common),
                                smallfloat.from_int(total))
    head_scale = smallfloat.mul(smallfloat.div(peak, levels), per_weight)          # [B, G, g, T]
    return _join_heads(outputs.transpose(0, 3, 1, 2, 4).reshape(batch, count, heads, n),
                       head_scale.transpose(0, 3, 1, 2).reshape(batch, count, heads),
                       widths.output_shift)


def _join_heads(outputs: Ints, scale: Floats, places: int) -> tuple[Ints, Floats]:
    """Words [B, T, H * n] on one power-of-two scale [B, T] from head outputs [B, T, H, n]."""
    mantissa, power = smallfloat.split(scale)
    power = np.where(scale > 0, power, _NO_EXPONENT)
    top = power.max(axis=-1, keepdims=True)                                        # [B, T, 1]
    by = np.where(scale > 0, top - power, 0) + places
    words = saturate(round_shift(outputs * mantissa[..., None], by[..., None]), WORD_BITS)
    common = smallfloat.shift(np.ones(top.shape[:-1]), top[..., 0] + places)
    return words.reshape(*outputs.shape[:2], -1), np.where(top[..., 0] > _NO_EXPONENT, common, 0.0)
