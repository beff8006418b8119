# SPDX-License-Identifier: Apache-2.0
"""Cycles of :mod:`hw.ffn.gated_ffn`; its values are in :mod:`golden_model.ffn.gated_ffn`."""

from typing import NamedTuple

import numpy as np

from golden_model.ffn.code_packer import PackerCycles
from golden_model.ffn.gate_up import GateUpCycles, GateUpOffers
from golden_model.ffn.gated_ffn import FfnResult, FfnVector, gated_ffn
from golden_model.ffn_config import GatedFfnConfig
from golden_model.mac.ternary_array import ArrayCycles, command_for
from golden_model.quant_config import SmallFloatUnitConfig
from golden_model.sparse.masked_linear_cycles import MaskedCycles, MaskedLinearCycles

__all__ = ["FfnCycles", "FfnTransfers"]

_PATIENCE = 10_000_000


class FfnTransfers(NamedTuple):
    """The cycle of every transfer of one vector."""

    activations: list[int]
    gate_weights: list[int]
    gates: list[int]
    """Inside: sums of the array."""
    up_requests: list[int]
    up_weights: list[int]
    words: list[int]
    """Inside: products at the quantiser, both passes; gains go with them."""
    down_requests: list[int]
    down_weights: list[int]
    sums: list[int]
    scale: int
    command: int
    """Acceptance of the command, with the last of all."""

    def phases(self, start: int = 0) -> dict[str, int]:
        """Divide the cycles from `start` on among what the block waits for at the time.

        ``gate``: gates.  ``up``: up rows that outlast them, and their products.  ``quantiser``: the
        codes' ratio.  ``down``: codes and columns.  ``scale``: the norm's scale, if it is last.
        """
        gates = self.gates[-1] + 1
        products = self.words[len(self.words) // 2 - 1] + 1
        codes = self.words[len(self.words) // 2]
        ends = {"gate": gates, "up": products, "quantiser": codes, "down": self.sums[-1] + 1,
                "scale": self.command + 1}
        lengths = {}
        for name, end in ends.items():
            lengths[name] = max(end - start, 0)
            start = max(start, end)
        return lengths


class FfnCycles:
    """Cycles of consecutive vectors from reset on, if whatever is needed is there.

    The array, the packers and the gated product run cycle by cycle; from its words on, the path of
    Wdown is known from the cycle in which each of them is offered.

    Parameters
    ----------
    latency
        Cycles from a request of an up row or a column to its first beat, at least 1; one beat a
        cycle.  Gate weights are always there.
    """

    def __init__(self, config: GatedFfnConfig, unit: SmallFloatUnitConfig, latency: int) -> None:
        self.config, self.unit, self.latency = config, unit, latency
        self.cycle = 0
        self.array = ArrayCycles(config.array)
        self.gate_up = GateUpCycles(config.gate_up)
        self.packers = PackerCycles(config.array_packer), PackerCycles(config.up_packer)
        self.down = MaskedLinearCycles(config.down, unit, latency)
        self.ahead: list[int] = []
        """When the array took gate weights ahead of the vector that they belong to."""

    def run(self, vector: FfnVector, result: FfnResult | None = None,
            more: bool = False) -> FfnTransfers:
        """Cycles of one vector, its command and all inputs offered from the current cycle on.

        Parameters
        ----------
        more
            Whether another vector's gate weights are offered behind this one's.
        """
        result = result or gated_ffn(self.config, vector)
        front = _Front(self, vector, more)
        while not front.done:
            front.step()
        down = self.down.run(result.product, vector.weights.down.shape[0], command=front.scaled,
                             words=front.words)
        end = max(down.sums[-1], down.scale)
        while self.cycle <= end:
            front.step()
        return front.transfers(down, end)


class _Front:
    """What happens ahead of the quantiser, for one vector."""

    def __init__(self, parent: FfnCycles, vector: FfnVector, more: bool) -> None:
        self.parent = parent
        config = parent.config
        n, k = vector.weights.gate.shape
        self.more = more
        self.command = command_for(config.array, n, k)
        self.commanded = False
        self.up_command: tuple[int, int] | None = (n, -(-k // config.gate_up.width))
        self.beats = -(-k // config.lanes)
        self.weight_beats = self.command.blocks * self.command.tiles
        lanes = config.gate_up.rows
        active = np.flatnonzero(vector.gate > 0)
        self.masks = [(active[active // lanes == beat] % lanes).tolist()
                      for beat in range(self.command.blocks)]
        self.scale_offered, self.response = True, -1
        self.activations: list[int] = []
        self.gate_weights, parent.ahead = parent.ahead, []
        self.gates: list[int] = []
        self.up_requests: list[int] = []
        self.up_weights: list[int] = []
        self.words: list[int] = []
        self.scaled = -1

    @property
    def done(self) -> bool:
        """Whether products and their scale are known to the cycle."""
        return self.up_command is None

    def step(self) -> None:
        """Go through one cycle."""
        parent, now = self.parent, self.parent.cycle
        array, gate_up, packers = parent.array, parent.gate_up, parent.packers
        blocks = (self.up_command or (1, 1))[1]

        due = len(self.up_weights)
        offers = GateUpOffers(
            command=self.up_command, vector=packers[1].valid,
            gate=(self.masks[len(self.gates)], array.accumulator.last)
            if array.accumulator.valid else None,
            scale=self.scale_offered,
            weights=due < blocks * len(self.up_requests)
            and now >= self.up_requests[due // blocks] + parent.latency,
            row_ready=True, o_ready=True, scale_ready=True,
            request_ready=True, response=now == self.response)
        ports = gate_up.answer(offers)
        command = self.command if not self.commanded else None
        left = self.weight_beats - len(self.gate_weights)
        weights = left > 0 or self.more
        answers = array.step(command, packers[0].valid, weights, ports.gate)
        x_ready = answers.x_ready, ports.vector

        offered = len(self.activations) < self.beats
        taken = offered and all(packer.ready(ready) for packer, ready in zip(packers, x_ready))
        last = len(self.activations) == self.beats - 1
        for packer, ready in zip(packers, x_ready):
            packer.tick(taken, last, ready)
        if taken:
            self.activations.append(now)
        gate_up.tick(offers)

        self.commanded |= answers.cmd_ready
        if weights and answers.w_ready:
            (self.gate_weights if left > 0 else parent.ahead).append(now)
        if answers.o_valid and ports.gate:
            self.gates.append(now)
        if ports.row is not None:
            self.up_requests.append(now)
        if offers.weights and ports.weights:
            self.up_weights.append(now)
        if ports.o:
            self.words.append(now)
        if ports.request:
            self.response = now + parent.unit.latency["mul"]
        self.scale_offered &= not ports.scale
        if ports.o_scale:
            self.scaled = now
        if self.up_command and ports.command:
            self.up_command = None
        parent.cycle += 1

    def transfers(self, down: MaskedCycles, end: int) -> FfnTransfers:
        """Return all cycles, those of the path of Wdown included."""
        return FfnTransfers(self.activations, self.gate_weights, self.gates, self.up_requests,
                            self.up_weights, down.words, down.requests, down.weights, down.sums,
                            down.scale, end)
