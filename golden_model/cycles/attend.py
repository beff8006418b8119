# SPDX-License-Identifier: Apache-2.0
"""Cycles of ``attend``: the array, the rotation, attention, and the first pass over its words."""

from collections.abc import Mapping
from typing import NamedTuple

from golden_model.attention.cached_attention_cycles import CommandSteps
from golden_model.control import scale_products
from golden_model.control.slack import SlackSteps
from golden_model.cycles.engine import ArrayRun
from golden_model.cycles.vectors import ACCEPT, COMMAND, beats, gain_words
from golden_model.decoder_config import DecoderConfig
from golden_model.stream_config import RotationConfig

__all__ = ["Attended", "RotationSteps", "attend"]

PRODUCTS = 3
"""Scales of keys, values and queries."""


class Attended(NamedTuple):
    """Cycles of an ``attend`` and of what follows from it in the next instruction."""

    end: int
    """The instruction is accepted."""
    words: int
    """Last word of the first pass of the next one."""


class RotationSteps:
    """Handshakes of the rotation, cosines and sines being there."""

    def __init__(self, config: RotationConfig) -> None:
        self.pipe = [False] * config.rope.latency
        self.parts, self.filled = config.parts, 0
        self.valid = False
        """``o.valid`` in this cycle."""

    def ready(self, o_ready: bool) -> bool:
        """``i.ready`` in this cycle."""
        return o_ready or not self.valid or not self.pipe[-1]

    def tick(self, i_valid: bool, o_ready: bool) -> None:
        """Go on to the next cycle."""
        moves, out = o_ready or not self.valid, self.pipe[-1]
        if moves or not out:
            self.pipe = [i_valid, *self.pipe[:-1]]
        if moves:
            self.valid = False
            if out:
                self.filled = (self.filled + 1) % self.parts
                self.valid = not self.filled


def attend(config: DecoderConfig, fields: Mapping[str, int], output: Mapping[str, int], rows: int,
           run: ArrayRun, start: int, scaled: int) -> Attended:
    """Cycles of an ``attend`` that is offered in cycle `start`, and of the ``output`` behind it.

    Parameters
    ----------
    rows
        Rows that the token sees, its own included.
    run
        The array, whose weights are asked for from `start` on.
    scaled
        The first cycle in which the codes' scale stands.
    """
    n, heads, kv_heads = fields["n"], fields["heads"], fields["kv_heads"]
    command = max(start, scaled) + scale_products.latency(config.unit, PRODUCTS)
    rotation = RotationSteps(config.rotation)
    steps, slack = CommandSteps(config.attention, heads, kv_heads, n, rows), SlackSteps()
    count, taken, joined = beats(config, output["n"]), 0, 0
    gains: range | None = None
    end, now = 0, start
    while taken < count:
        takes = now > command and steps.takes
        rotated = rotation.ready(takes)
        offered = rotation.valid
        rotation.tick(run.step(now, rotated), takes)
        if now > command:
            # Nobody takes words ahead of the next instruction.
            ready = (gains is not None and now > end + 1 + COMMAND and now >= gains[taken])
            step = steps.step(offered, slack.ready)
            taken += slack.valid(step.joined.word) and ready
            slack.tick(step.joined.word, ready)
            if step.joined.scale:
                joined = now
        if joined and run.done and not end:
            end = max(joined, run.done) + ACCEPT
            gains = gain_words(config, end + 1 + config.sequencer.beats, count)
        now += 1
    return Attended(end, now - 1)
