# SPDX-License-Identifier: Apache-2.0
"""Cycles of what stands between the residual stream and the engines: norm, codes, addition."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from golden_model.control.slack import SlackSteps
from golden_model.control.stage import StageSteps
from golden_model.cycles.port import image_latency
from golden_model.decoder_config import DecoderConfig
from golden_model.ffn.code_packer import PackerCycles
from golden_model.quant import scale_program

__all__ = ["ACCEPT", "COMMAND", "DIGITS", "Norm", "Quantised", "add", "beats", "first_pass",
           "gain_words", "norm", "quantise"]

COMMAND = 3
"""Cycles from a command's offer to a quantiser at rest to its transfer."""

ACCEPT = 1
"""Cycles from the last transfer that an instruction waits for to the instruction's own."""


DIGITS = (1, 1, 2)
"""Digits of a code that the array multiplies, for each of the quantiser's formats."""


class Norm(NamedTuple):
    """What a norm's first pass leads to."""

    codes: int
    """Cycle from which on the second pass's words are taken."""
    scale: int
    """Cycle of the last response: the scale."""


class Quantised(NamedTuple):
    """Cycles of a ``quantise``."""

    run: int
    """First cycle of the array's run, its activations in place."""
    scaled: int
    """First cycle in which the codes' scale stands."""
    end: int
    """The instruction is accepted."""


def beats(config: DecoderConfig, n: int) -> int:
    """Beats of a vector of the vector units."""
    return -(-n // config.lanes)


def gain_words(config: DecoderConfig, load: int, count: int) -> range:
    """Cycles from which on the words of a vector are there whose load is taken in cycle `load`."""
    first = load + image_latency(config) + config.gains.latency
    return range(first, first + count)


def first_pass(start: int, *offers: Sequence[int]) -> list[int]:
    """Cycle of each beat's transfer, from `start` on, when all streams offer it."""
    taken: list[int] = []
    for arrivals in zip(*offers, strict=True):
        taken.append(max(start, (taken[-1] if taken else 0) + 1, *arrivals))
    return taken


def norm(config: DecoderConfig, last: int) -> Norm:
    """Say when a norm goes on whose first pass ends in cycle `last`."""
    go = last + config.quantiser.statistics_latency
    ratio = go + scale_program.cycles(config.unit, scale_program.RATIO_OPERATIONS)
    scale = go + scale_program.cycles(config.unit, scale_program.operations(norm=True))
    return Norm(ratio + 2, scale)


def quantise(config: DecoderConfig, fields: Mapping[str, int], start: int,
             load: int | None, free: int = 0) -> Quantised:
    """Cycles of a ``quantise`` that is offered in cycle `start`.

    Parameters
    ----------
    load
        The cycle in which the request of its gains is taken; None: they are there.
    free
        The first cycle in which the quantiser is at rest.
    """
    count = beats(config, fields["n"])
    command = max(start, free) + COMMAND
    words = [start + config.residual.read_latency] * count
    gains = (range(start + 1, start + 1 + count) if load is None
             else gain_words(config, load, count))
    taken = first_pass(command + 1, words, gains)
    after = norm(config, taken[-1])
    codes, loaded = _codes(config, count, after.codes, DIGITS[fields["format"]])
    # The scale goes through a register, and into another.
    return Quantised(loaded + 1, after.scale + 2, codes + ACCEPT)


def _codes(config: DecoderConfig, count: int, start: int, digits: int) -> tuple[int, int]:
    """Last transfers of codes and of the array's words: a pipeline that waits for the packer."""
    packer, slack, stage = PackerCycles(config.array_packer), SlackSteps(), StageSteps()
    stages = [False] * config.quantiser.latency
    now, entered, left, digit, word = start, 0, 0, 0, 0
    while left < count or packer.valid:
        ends = packer.valid and digit == digits - 1
        ready = packer.ready(ends)
        if packer.valid:
            word, digit = now, 0 if ends else digit + 1
        made = stages[-1]
        if stage.valid and ready:
            left, last = left + 1, now
        packer.tick(stage.valid, left == count, ends)
        moves, held = slack.ready or not made, stage.ready(ready)
        code = slack.valid(made)
        slack.tick(made, held)
        stage.tick(code, ready)
        if moves:
            stages = [entered < count, *stages[:-1]]
            entered += entered < count
        now += 1
    return last, word


def add(config: DecoderConfig, count: int, offered: int, sums: Sequence[int]) -> int:
    """Cycle in which an addition of `count` beats is done.

    Parameters
    ----------
    offered
        The cycle from which on its command is.
    sums
        The cycle from which on each wide beat is there; one that waits holds up those behind it.
    """
    parts, now, late = config.residual.narrower.parts, offered + config.residual.read_latency, 0
    for number, arrival in enumerate(sums):
        now = max(now, arrival + late)
        taken = now + min(parts, count - number * parts) - 1
        late = max(0, taken - arrival)
        now = taken + 1
    return now - 1 + config.residual.add.latency
