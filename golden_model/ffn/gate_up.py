# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.ffn.gate_up`: products, rows, scale, and every handshake."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Codes, Floats, Ints
from golden_model.ffn.gate_peak import gate_shift
from golden_model.ffn.gate_scale import ScaleCycles, gate_scale
from golden_model.ffn.product_buffer import BufferCycles, beats
from golden_model.ffn.relu2_glu import relu2_glu
from golden_model.ffn.stages import BufferedQueue, CompactorSteps, GatherSteps, Pipeline, Row
from golden_model.ffn_config import GateUpConfig

__all__ = ["GateUpCycles", "GateUpOffers", "GateUpPorts", "GateUpResult", "gate_up"]


class GateUpResult(NamedTuple):
    """What one vector gives."""

    rows: Ints
    """Up rows that are fetched [active]."""
    words: Ints
    """Products, in beats [ceil(n / lanes), lanes]."""
    scale: Floats


def gate_up(config: GateUpConfig, gate: Ints, up: Codes, codes: Codes, scale: Floats,
            gate_scale_: Floats, up_scale: Floats, peak: int) -> GateUpResult:
    """Products of gates [n] and of the active rows of `up` [n, K] times codes [K].

    `peak` is the largest activation times K; see :func:`golden_model.ffn.relu2_glu.relu2_glu`.
    """
    rows = np.flatnonzero(gate > 0)
    sums = np.zeros(gate.size, np.int64)
    sums[rows] = up[rows].astype(np.int64) @ codes.astype(np.int64)
    words, _ = relu2_glu(gate, sums, np.ones(()), np.ones(()), peak)
    shift = gate_shift(gate, peak.bit_length())
    return GateUpResult(rows, beats(config.buffer, gate.size, rows, words[rows]),
                        gate_scale(scale, gate_scale_, up_scale, shift))


class GateUpOffers(NamedTuple):
    """What the ports are offered in one cycle."""

    command: tuple[int, int] | None
    """Gates and blocks, if there is a command."""
    vector: bool
    gate: tuple[list[int], bool] | None
    """Active lanes of a beat and whether it is the last."""
    scale: bool
    weights: bool
    row_ready: bool
    o_ready: bool
    scale_ready: bool
    request_ready: bool
    response: bool


class GateUpPorts(NamedTuple):
    """What they answer: readiness of inputs, validity of outputs."""

    command: bool
    vector: bool
    gate: bool
    scale: bool
    weights: bool
    row: int | None
    """Row on ``o_row``."""
    o: bool
    o_last: bool
    """Meaningful if `o`."""
    o_scale: bool
    request: bool


class GateUpCycles:
    """Every handshake, cycle by cycle: `answer` and `tick` take what the ports are offered."""

    def __init__(self, config: GateUpConfig) -> None:
        self.config = config
        self.peak: Pipeline[tuple[list[int], bool]] = Pipeline(config.peak.peak_latency)
        self.masks: BufferedQueue[tuple[list[int], bool]] = BufferedQueue(config.masks)
        self.compactor = CompactorSteps(config.compactor)
        self.gather = GatherSteps(config.gather)
        self.spare: Row | None = None
        """What waits ahead of the full queue."""
        self.sums: BufferedQueue[Row] = BufferedQueue(config.pending)
        self.held: Row | None = None
        self.glu: Pipeline[Row] = Pipeline(config.glu.latency)
        self.product: Row | None = None
        """What waits ahead of the buffer."""
        self.buffer = BufferCycles(config.buffer)
        self.scale = ScaleCycles()
        self._restart()

    def _restart(self) -> None:
        self.loaded = 0
        self.taken = self.shift_known = self.delivered = self.scaled = False

    @property
    def active_rows(self) -> int:
        """Rows named so far that are still under way."""
        return len(self.gather.queue)

    @property
    def weights_ready(self) -> bool:
        """``i_weights.ready`` in this cycle."""
        return self.gather.w_ready(self.spare is None)

    def answer(self, offers: GateUpOffers) -> GateUpPorts:
        """Return what the ports answer in this cycle."""
        active = offers.command is not None
        n, blocks = offers.command or (1, 1)
        row = self.compactor.out if active and self.loaded == blocks else None
        named = row is not None and not row.end and self.gather.room
        o_scale = self.scale.valid(self.shift_known)
        done = self.delivered or self.buffer.done(n, offers.o_ready)
        return GateUpPorts(
            command=done and (self.scaled or (o_scale and offers.scale_ready)),
            vector=active and self.loaded < blocks,
            gate=active and not self.taken,
            scale=self.scale.idle and active and not self.scaled,
            weights=self.weights_ready,
            row=row.number if named and row is not None else None,
            o=self.buffer.valid, o_last=self.buffer.last(n), o_scale=o_scale,
            request=self.scale.requesting)

    def tick(self, offers: GateUpOffers, answered: GateUpPorts | None = None) -> None:
        """Go on to the next cycle; `answered` is what `answer` gave, if it was asked."""
        ports = answered or self.answer(offers)
        n, blocks = offers.command or (1, 1)
        word, room = self.product or self.glu.out, self.product is None
        item = None if word is None or word.end else word.number   # None: the end marker
        glu_ready = self.glu.ready(room)
        buffer_ready = not self.delivered and self.buffer.i_ready(n, item)

        look_up = (self.sums.head is not None and self.shift_known
                   and (self.held is None or glu_ready))
        held, head = self.held, self.sums.head
        done = self.buffer.done(n, offers.o_ready)
        self.buffer.tick(n if offers.command and not self.delivered else None,
                         word is not None, item, offers.o_ready)
        self.product = None if buffer_ready else word
        self.glu.tick(held, room)
        if look_up:
            self.held = head
        elif glu_ready:
            self.held = None

        row = self.compactor.out if offers.command and self.loaded == blocks else None
        named = row is not None and self.gather.room and (row.end or offers.row_ready)
        gathered = self.spare or self.gather.out
        self.gather.tick(row if named else None, blocks, offers.weights, self.spare is None)
        self.spare = None if self.sums.ready else gathered
        self.sums.tick(gathered, look_up)
        mask, takes = self.masks.head, self.compactor.ready
        self.compactor.tick(mask, named)
        found = self.peak.out
        self.masks.tick(found, takes)
        gate = offers.gate if ports.gate else None
        self.peak.tick(gate, True)

        if found is not None and found[1]:
            self.shift_known = True
        delivered = ports.o_scale and offers.scale_ready
        self.scale.tick(offers.scale and ports.scale, offers.request_ready, offers.response,
                        delivered)
        self.loaded += offers.vector and ports.vector
        self.taken |= gate is not None and gate[1]
        self.delivered |= done
        self.scaled |= delivered
        if offers.command and ports.command:
            self._restart()
