# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.kv.row_quantiser`: one head's codes, scale and every cycle."""

from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.formats import encode_kv_scale
from golden_model.kv.row_code import quantize_query, quantize_row
from golden_model.kv_row_config import RowQuantiserConfig
from golden_model.quant_config import SmallFloatUnitConfig

__all__ = ["CodedHead", "HeadCycles", "code_head", "head_cycles"]


class CodedHead(NamedTuple):
    """What becomes of one head."""

    codes: Ints
    scale: Floats
    """Small float of a query's code, or of a step, ahead of its rounding to a KV scale."""
    kv: int
    """KV scale."""


class HeadCycles(NamedTuple):
    """The cycle of every transfer of one head."""

    command: int
    words: list[int]
    codes: list[int]
    scale: int


def code_head(x: Ints, scale: Floats, fmt: str, bits: int) -> CodedHead:
    """Code the words [n] of one head; `fmt` is ``query``, ``midrise`` or ``symmetric``."""
    if fmt == "query":
        codes, exact = quantize_query(x, scale, bits)
    else:
        codes, _ = quantize_row(x, scale, bits, fmt)
        levels = smallfloat.constant((1 << bits) - 1 if fmt == "midrise" else (1 << bits - 1) - 1)
        absmax = smallfloat.from_int(np.abs(x).max())
        exact = smallfloat.div(smallfloat.mul(absmax, scale), levels)
    return CodedHead(codes.astype(np.int64), exact, int(encode_kv_scale(exact)))


def head_cycles(config: RowQuantiserConfig, unit: SmallFloatUnitConfig,
                heads: list[tuple[int, str]], words: list[int] | None = None) -> list[HeadCycles]:
    """Cycles of consecutive heads from reset on, on a unit that serves nothing else.

    Commands wait, words come as early as can be or from the cycles `words` on, nothing stalls.

    Parameters
    ----------
    heads
        Length and format of each.
    words
        For each beat of all heads the cycle from which on it is offered.
    """
    result: list[HeadCycles] = []
    offered = iter(words or [0] * sum(-(-n // config.lanes) for n, _ in heads))
    coded = [-1, -1]  # the cycle in which each head's last word was read; two are kept
    taken = free = idle = -1  # a head is passed on; the scale before is known; its codes are out
    for n, fmt in heads:
        beats = -(-n // config.lanes)
        command = max(taken, coded[-2]) + 1
        entered: list[int] = []
        for _ in range(beats):
            entered.append(max(next(offered), (entered[-1] if entered else command) + 1))
        taken = max(entered[-1] + config.peak_latency, free)
        ratio = max(taken, idle) + 1 + unit.latency["div"]
        first = ratio + 1 + config.latency
        codes = list(range(first, first + beats))
        coded.append(ratio + beats)
        idle = codes[-1]
        order = ["div", "mul"] if fmt == "query" else ["mul", "div"]
        free = ratio + sum(unit.latency[name] + 1 for name in order)
        result.append(HeadCycles(command, entered, codes, free + 1))
    return result
