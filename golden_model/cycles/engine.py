# SPDX-License-Identifier: Apache-2.0
"""The array in one instruction: weights from the port, activations in place."""

from collections import deque

from golden_model.control.slack import SlackSteps
from golden_model.cycles.port import PortCycles, image_latency
from golden_model.decoder_config import DecoderConfig
from golden_model.mac.ternary_array import ArrayCycles
from golden_model.mac.tile_loader import Command, Run

__all__ = ["COLUMNS", "DENSE", "GAINS", "PROGRAM", "UP", "ArrayRun", "FreeRun"]

PROGRAM, DENSE, GAINS, UP, COLUMNS = range(5)
"""Readers of the image that ask while engines are at work, who goes first ahead."""


class ArrayRun:
    """One run, cycle by cycle, alone on the port but for what is asked for ahead of it.

    Parameters
    ----------
    command
        Of the array.
    start
        Cycle in which the run's activations are in place.
    asked
        Cycle from which on its weights, and ahead of them the next instruction, are asked for.
    program
        Beats of the next instruction; 0: none is fetched.
    """

    def __init__(self, config: DecoderConfig, command: Command, start: int, asked: int,
                 program: int) -> None:
        self.port, self.array = PortCycles(config), ArrayCycles(config.engine)
        self.slack, self.sums = SlackSteps(), SlackSteps()
        self.command, self.start, self.asked = command, start, asked
        self.requests = [(PROGRAM, program)] if program else []
        self.requests.append((DENSE, command.blocks * command.tiles))
        self.blocks, self.placed = command.blocks * command.tokens, False
        self.taken: int | None = None
        """Reader whose request was taken in the latest cycle."""
        self.done = 0
        """Cycle of the last sums' transfer."""

    def step(self, now: int, o_ready: bool, others: list[tuple[int, int]] | None = None,
             ready: bool = False) -> bool:
        """Go through cycle `now`; return whether sums are transferred."""
        port, slack, offered = self.port, self.slack, self.port.reader == DENSE
        w_ready, summed = self._array(now, slack.valid(offered), self.sums.ready)
        o_valid = self.sums.valid(summed)
        self.sums.tick(summed, o_ready)
        own = self.requests if now >= self.asked else []
        takes = slack.ready if port.taking == DENSE else port.taking == PROGRAM or ready
        slack.tick(offered, w_ready)
        taken = port.step([*own, *(others or [])], takes)
        if own and taken == own[0][0]:
            del own[0]
        self.taken = taken
        moved = o_valid and o_ready
        self.blocks -= moved
        if moved and not self.blocks:
            self.done = now
        return moved

    def _array(self, now: int, weights: bool, o_ready: bool) -> tuple[bool, bool]:
        """Let the array go through a cycle; whether it takes weights and offers sums."""
        if not self.placed and now >= self.start:
            self.array.loader.runs.append(Run(self.command, 0))
            self.placed = True
        answers = self.array.step(None, False, weights, o_ready)
        return answers.w_ready, answers.o_valid


class FreeRun(ArrayRun):
    """A run of one digit whose activations are there ahead of its weights, whose sums are taken.

    Then it takes a beat in every cycle, and sums come the array's latency after their last one.
    """

    def __init__(self, config: DecoderConfig, command: Command, start: int, asked: int,
                 program: int) -> None:
        super().__init__(config, command, start, asked, program)
        self.latency, self.beats = config.engine.latency, 0
        self.due: deque[int] = deque()

    @staticmethod
    def fits(config: DecoderConfig, command: Command, start: int, asked: int) -> bool:
        """Whether a run is such a one, if its sums are always taken."""
        return command.digits == 1 and start <= asked + image_latency(config)

    def _array(self, now: int, weights: bool, o_ready: bool) -> tuple[bool, bool]:
        if weights:
            self.beats += 1
            if self.beats % self.command.tiles == 0:
                self.due.append(now + self.latency)
        valid = bool(self.due) and self.due[0] == now
        if valid:
            self.due.popleft()
        return True, valid
