# SPDX-License-Identifier: Apache-2.0
"""Cycle model of the AXI4-Lite slave: which channel moves when, and in which order."""

from typing import NamedTuple

from golden_model.bus.register_file import Access, Response

__all__ = ["AxiLite", "Inputs"]

OKAY, SLAVE_ERROR = 0, 2


class Inputs(NamedTuple):
    """What the slave sees in one cycle; None where ``valid`` is low."""

    aw: int | None = None
    w: tuple[int, int] | None = None
    """Data and strobes."""
    ar: int | None = None
    b_ready: bool = False
    r_ready: bool = False
    request_ready: bool = False
    response: Response | None = None


class AxiLite:
    """State of the slave between two clock edges; its attributes are what its outputs show."""

    def __init__(self) -> None:
        self.aw: int | None = None
        self.w: tuple[int, int] | None = None
        self.ar: int | None = None
        self.b: int | None = None
        """Response that is offered."""
        self.r: tuple[int, int] | None = None
        """Data and response that are offered."""
        self.request: Access | None = None
        """Access that is offered to the register file."""
        self.waiting = False
        """Whether a response of the register file is taken."""
        self.last_write = False

    def step(self, now: Inputs) -> None:
        """Go through one cycle."""
        aw, w, ar = self.aw, self.w, self.ar
        # A channel that is empty takes what is offered.
        self.aw = now.aw if aw is None else aw
        self.w = now.w if w is None else w
        self.ar = now.ar if ar is None else ar
        if self.b is not None:
            self.b = None if now.b_ready else self.b
        elif self.r is not None:
            self.r = None if now.r_ready else self.r
        elif self.waiting:
            if now.response is not None:
                self.waiting = False
                code = SLAVE_ERROR if now.response.error else OKAY
                if self.last_write:
                    self.b = code
                else:
                    self.r = now.response.data, code
        elif self.request is not None:
            if now.request_ready:
                if self.request.write:
                    self.aw = self.w = None
                else:
                    self.ar = None
                self.request, self.waiting = None, True
        elif aw is not None and w is not None and (ar is None or not self.last_write):
            self.request, self.last_write = Access(aw & ~3, True, *w), True
        elif ar is not None:
            self.request, self.last_write = Access(ar & ~3), False
