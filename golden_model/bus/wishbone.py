# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the Wishbone slave."""

from typing import NamedTuple

from golden_model.bus.register_file import Access, Response
from golden_model.bus_config import WishboneConfig

__all__ = ["Inputs", "Wishbone"]


class Inputs(NamedTuple):
    """What the slave sees in one cycle."""

    cyc: bool = False
    access: Access | None = None
    """None where ``stb`` is low."""
    request_ready: bool = False
    response: Response | None = None


class Wishbone:
    """State of the slave between two clock edges; its attributes are what its outputs show."""

    def __init__(self, config: WishboneConfig) -> None:
        self.pipelined = config.pipelined
        self.request: Access | None = None
        """Access that is offered to the register file."""
        self.waiting = False
        """Whether a response of the register file is taken."""
        self.answer: Response | None = None
        """What `ack` or `err` and the data show, for one cycle."""
        self.wanted = False

    @property
    def stall(self) -> bool:
        """Whether a request is not taken, in pipelined mode."""
        return self.pipelined and (self.request is not None or self.waiting)

    def step(self, now: Inputs) -> None:
        """Go through one cycle."""
        answered, self.answer = self.answer, None
        self.wanted &= now.cyc
        if self.waiting:
            if now.response is not None:
                self.waiting = False
                self.answer = now.response if self.wanted else None
        elif self.request is not None:
            if now.request_ready:
                self.request, self.waiting = None, True
        elif now.cyc and now.access is not None and (self.pipelined or answered is None):
            # In classic mode the strobe beside an answer is still that of the old request.
            self.request, self.wanted = now.access, True
