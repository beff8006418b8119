# SPDX-License-Identifier: Apache-2.0
"""Cycles of ``embed``: a row of the embedding, tile by tile, then the position's rotations."""

from collections.abc import Mapping

from golden_model.cycles.port import PortCycles
from golden_model.cycles.vectors import ACCEPT, beats
from golden_model.decoder_config import DecoderConfig
from golden_model.head_config import PLANES

__all__ = ["embed"]

PROGRAM, ROW, TURNS = range(3)
"""Readers of the image that ask, who goes first ahead."""


def embed(config: DecoderConfig, fields: Mapping[str, int], start: int, program: int) -> int:
    """Cycle in which an ``embed`` that is offered in cycle `start` is accepted.

    `program`: beats of the next instruction, which is asked for at once.
    """
    port, row = PortCycles(config), config.embedding_row
    asked, count = PLANES * fields["tiles"], beats(config, fields["n"])
    planes = left = sent = loaded = 0
    turns = False
    now = start
    while sent < count or not loaded:
        requests = [(PROGRAM, program)] if program else []
        if asked and now >= start + row.address_latency:
            requests.append((ROW, 1))
        if not turns and now >= start + config.position_address.latency:
            requests.append((TURNS, fields["table_beats"]))
        beat = port.reader == ROW
        taken = port.step(requests, port.taking != ROW or not left)
        asked -= taken == ROW
        program = 0 if taken == PROGRAM else program
        if taken == TURNS:
            turns, loaded = True, now
        if left:
            left, sent, last = left - 1, sent + 1, now
        elif beat:
            planes = (planes + 1) % PLANES
            left = 0 if planes else min(row.parts, count - sent)
        now += 1
    return max(last + config.residual.add.latency, loaded) + ACCEPT
