# SPDX-License-Identifier: Apache-2.0
"""The one port of the image, cycle by cycle: hub, memory on the chip, unpacker."""

from collections import deque
from collections.abc import Sequence

from golden_model.control.slack import SlackSteps
from golden_model.decoder_config import DecoderConfig
from golden_model.image_config import BlockMemoryConfig

__all__ = ["PortCycles", "image_latency"]


def image_latency(config: DecoderConfig) -> int:
    """Cycles from a request's transfer to its first beat at a reader, of an image on the chip."""
    return BlockMemoryConfig(port=config.port, depth=1).latency + config.trit_port.latency


class PortCycles:
    """Bursts of several readers, in the order in which they are asked for; a beat a cycle.

    A reader that does not take its beat holds up memory and unpacker behind it, whose registers
    fill up meanwhile.
    """

    def __init__(self, config: DecoderConfig) -> None:
        self.in_flight = config.hub.in_flight
        # Where a beat may stand: the memory's output, what it gives room to, the unpacker's stages.
        self.read, self.slack = False, SlackSteps()
        self.stages = [False] * config.trit_port.latency
        self.left = 0
        """Beats of the latest burst whose addresses are to be given."""
        self.ahead = 0
        """Beats of the burst behind it, if that was asked for already."""
        self.bursts: deque[list[int]] = deque()
        """Reader and beats to come of each burst under way."""

    @property
    def reader(self) -> int | None:
        """Reader to whom a beat is offered in this cycle."""
        return self.bursts[0][0] if self.stages[-1] else None

    @property
    def taking(self) -> int | None:
        """Reader whose beats are next, if any are under way."""
        return self.bursts[0][0] if self.bursts else None

    def step(self, requests: Sequence[tuple[int, int]], ready: bool) -> int | None:
        """Go through one cycle; return the reader whose request is taken.

        Parameters
        ----------
        requests
            Readers that ask, who goes first ahead, and how many beats for.
        ready
            Whether the reader whose beats are next takes one.
        """
        stages, room = self.stages, len(self.bursts) < self.in_flight
        moves = ready and bool(self.bursts)
        if moves and stages[-1]:
            self.bursts[0][1] -= 1
            if not self.bursts[0][1]:
                self.bursts.popleft()
        offered = self.slack.valid(self.read)
        for n in range(len(stages) - 1, -1, -1):
            moves = moves or not stages[n]
            if moves:
                stages[n] = stages[n - 1] if n else offered
        reads = self.slack.ready or not self.read
        self.slack.tick(self.read, moves)
        ends = self.left == 0 or (reads and self.left == 1)
        if reads:
            self.read = self.left > 0
            self.left -= self.read
        reader, beats = requests[0] if requests and room and not self.ahead else (None, 0)
        if reader is not None:
            self.bursts.append([reader, beats])
        if ends:
            self.left, self.ahead = self.ahead or beats, 0
        elif beats:
            self.ahead = beats
        return reader
