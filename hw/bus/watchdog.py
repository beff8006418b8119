# SPDX-License-Identifier: Apache-2.0
"""Watchdog: notices that nothing moves, and asks for the soft reset that mends it."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.bus_config import WatchdogConfig

__all__ = ["Watchdog"]


class Watchdog(wiring.Component):
    """Count cycles that are busy without progress.

    After `limit` of them in a row comes a pulse, one cycle later, and the count starts anew.  A
    limit that is changed holds from the next cycle with progress, or without work; 0 switches the
    watchdog off at once.

    Members
    -------
    limit : :py:`In(config.limit_bits)`
    busy, progress : :py:`In(1)`
    draining : :py:`In(1)`
        A soft reset is under way: it is what hangs.
    expired : :py:`Out(1)`
        Nothing moves: a soft reset is needed.
    abandon : :py:`Out(1)`
        The soft reset itself does not end: what it waits for must be given up.
    """

    def __init__(self, config: WatchdogConfig):
        self.config = config
        super().__init__({
            "limit": In(config.limit_bits), "busy": In(1), "progress": In(1), "draining": In(1),
            "expired": Out(1), "abandon": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        left = Signal(self.config.limit_bits, init=-1)
        stalled, hit = Signal(), Signal()
        m.d.comb += [
            stalled.eq(self.busy & ~self.progress & (self.limit != 0)),
            hit.eq(stalled & (left <= 1)),
        ]
        m.d.sync += [
            left.eq(Mux(stalled & ~hit, left - 1, self.limit)),
            self.expired.eq(hit & ~self.draining),
            self.abandon.eq(hit & self.draining),
        ]
        return m
