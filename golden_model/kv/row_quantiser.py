# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.kv.row_quantiser`: one head's codes, scale and every cycle."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Floats, Ints
from golden_model.kv.row_code import (
    encode_row_scale,
    quantize_query,
    quantize_row,
    row_scale,
    row_zeros,
)
from golden_model.kv_row_config import RowQuantiserConfig

__all__ = ["CodedHead", "HeadCycles", "QuantiserStep", "RowQuantiserCycles", "code_head",
           "head_cycles"]


class CodedHead(NamedTuple):
    """What becomes of one head."""

    codes: Ints
    scale: Floats
    """Small float of a query's code, or of a step, ahead of its rounding to a KV scale."""
    kv: int
    """What is stored with a row: KV scale, of min/max codes with the zero point."""


class HeadCycles(NamedTuple):
    """The cycle of every transfer of one head."""

    command: int
    words: list[int]
    codes: list[int]
    scale: int


def code_head(x: Ints, scale: Floats, fmt: str, bits: int) -> CodedHead:
    """Code the words [n] of one head; `fmt` is ``query`` or a code of rows."""
    if fmt == "query":
        codes, exact = quantize_query(x, scale, bits)
    else:
        codes, _ = quantize_row(x, scale, bits, fmt)
        exact = row_scale(x, scale, bits, fmt)
    return CodedHead(codes.astype(np.int64), exact,
                     int(encode_row_scale(exact, row_zeros(x, bits, fmt), fmt)))


class QuantiserStep(NamedTuple):
    """What is transferred in one cycle."""

    command: bool
    word: bool
    code: bool
    """``o.valid``, taken if it was ready."""
    last: bool
    """Whether what is on ``o`` ends its head."""
    scale: bool
    """``o_scale.valid``."""


class RowQuantiserCycles:
    """Handshakes of the quantiser, cycle by cycle."""

    def __init__(self, config: RowQuantiserConfig) -> None:
        self.config = config
        self.loads = self.peaks = False
        self.left = self.wait = 0
        """Beats to come, and cycles until the peak is there."""
        self.size = 0
        self.ratio: tuple[int, int] | None = None
        """Cycles until the ratio is there, and the head's beats."""
        self.scale: int | None = None
        """Cycles until the scale is there."""
        self.reading = 0
        """Beats to be coded."""
        self.pipe: list[bool | None] = [None] * config.latency
        """None, or whether a beat is its head's last."""
        self.scale_valid = False

    def step(self, command: int | None, word: bool, o_ready: bool,
             scale_ready: bool) -> QuantiserStep:
        """Go through one cycle, given what is offered: `command` is a head's length."""
        config = self.config
        shown, scale_shown = self.pipe[-1], self.scale_valid
        advance = shown is None or o_ready
        takes = not (self.loads or self.peaks)
        taken = takes and command is not None
        stored = self.loads and word
        peak = self.peaks and self.wait == 0
        scaled = self.scale == 0 and (not scale_shown or scale_ready)
        free = self.scale is None or scaled
        peaked = self.ratio is not None and self.ratio[0] == config.division and free
        starts = (self.ratio is not None and self.ratio[0] == 0 and not self.reading
                  and (free or not config.minmax))
        scales = starts if config.minmax else peaked

        if scale_ready:
            self.scale_valid = False
        if scaled:
            self.scale, self.scale_valid = None, True
        if advance:
            self.pipe = [(self.reading == 1) if self.reading else None, *self.pipe[:-1]]
            self.reading = max(0, self.reading - 1)
        self.scale = self.scale - 1 if self.scale else self.scale
        if scales:
            self.scale = config.scale_latency - 2
        if starts and self.ratio is not None:
            self.reading, self.ratio = self.ratio[1], None
        elif self.ratio is not None:
            waits = self.ratio[0] == config.division and not (peaked or config.minmax)
            self.ratio = max(0, self.ratio[0] - (not waits)), self.ratio[1]
        elif peak:
            self.ratio, self.peaks = (config.ratio_latency - 1, self.size), False
        self.wait = max(0, self.wait - 1)
        if stored:
            self.left -= 1
            if not self.left:
                self.loads, self.peaks, self.wait = False, True, config.peak_latency - 1
        if taken and command is not None:
            self.loads, self.size = True, -(-command // config.lanes)
            self.left = self.size
        return QuantiserStep(taken, stored, shown is not None, bool(shown), scale_shown)


def head_cycles(config: RowQuantiserConfig, lengths: list[int],
                words: list[int] | None = None) -> list[HeadCycles]:
    """Cycles of consecutive heads from reset on.

    Commands wait, words come as early as can be or from the cycles `words` on, nothing stalls.

    Parameters
    ----------
    lengths
        Length of each.
    words
        For each beat of all heads the cycle from which on it is offered.
    """
    model, sizes = RowQuantiserCycles(config), [-(-n // config.lanes) for n in lengths]
    offered = list(words or [0] * sum(sizes))
    commands: list[int] = []
    entered: list[int] = []
    codes: list[int] = []
    scales: list[int] = []
    cycle = 0
    while len(codes) < len(offered) or len(scales) < len(lengths):
        command = lengths[len(commands)] if len(commands) < len(lengths) else None
        word = len(entered) < len(offered) and offered[len(entered)] <= cycle
        seen = model.step(command, word, True, True)
        for log, moved in ((commands, seen.command), (entered, seen.word), (codes, seen.code),
                           (scales, seen.scale)):
            if moved:
                log.append(cycle)
        cycle += 1
    result, start = [], 0
    for number, size in enumerate(sizes):
        beats = slice(start, start + size)
        result.append(HeadCycles(commands[number], entered[beats], codes[beats], scales[number]))
        start += size
    return result
