# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.ffn.gate_scale`: value, and every handshake."""

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints

__all__ = ["OPERATIONS", "ScaleCycles", "gate_scale"]

OPERATIONS = 4
"""Multiplications, all of them on the small-float unit."""


def gate_scale(scale: Floats, gate: Floats, up: Floats, shift: Ints | int) -> Floats:
    """Scale of the products, from those of activations and matrices."""
    gates, ups = smallfloat.mul(scale, gate), smallfloat.mul(scale, up)
    return smallfloat.shift(smallfloat.mul(smallfloat.mul(gates, gates), ups), shift)


class ScaleCycles:
    """Handshakes, cycle by cycle."""

    def __init__(self) -> None:
        self.idle = True
        self.step = 0
        self.awaiting = False

    @property
    def requesting(self) -> bool:
        """``o_request.valid`` in this cycle."""
        return not self.idle and not self.awaiting and self.step < OPERATIONS

    def valid(self, shift_known: bool) -> bool:
        """``o.valid`` in this cycle."""
        return self.step == OPERATIONS and shift_known

    def tick(self, taken: bool, request_ready: bool, response: bool, delivered: bool) -> None:
        """Go on to the next cycle; `taken` and `delivered` are transfers on ``i`` and ``o``."""
        if self.idle:
            self.idle = not taken
        elif delivered:
            self.idle, self.step = True, 0
        elif self.awaiting:
            if response:
                self.awaiting = False
                self.step += 1
        elif self.requesting and request_ready:
            self.awaiting = True
