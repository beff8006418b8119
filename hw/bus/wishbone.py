# SPDX-License-Identifier: Apache-2.0
"""Wishbone B4 slave: the control bus in front of a stream of register accesses."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.bus_config import WishboneConfig
from hw.bus.register_file import request_layout, response_layout

__all__ = ["Wishbone", "wishbone_signature"]


def wishbone_signature(config: WishboneConfig):
    """Wishbone B4 with 32 data bits and words as addresses, as a master sees it."""
    return wiring.Signature({
        "cyc": Out(1), "stb": Out(1), "we": Out(1), "adr": Out(config.word_bits),
        "sel": Out(4), "dat_w": Out(32),
        "dat_r": In(32), "ack": In(1), "err": In(1), "stall": In(1),
    })


class Wishbone(wiring.Component):
    """One access at a time, in classic or in pipelined mode.

    An access that meets nothing else is answered four cycles after `stb`, if the register file
    takes one cycle.  No output depends on an input of the same cycle.  Where the master ends the
    bus cycle (`cyc`) ahead of the answer there is none; a write has its effect nonetheless.

    In pipelined mode a request is taken in the cycle in which `stb` meets no `stall`; in classic
    mode `stall` stays low, and `stb` must stay until the answer.

    Members
    -------
    wb : :py:`In(wishbone_signature(config))`
        An answer is `err` where the register file says `error`, else `ack`.
    o : :py:`Out(stream.Signature(request_layout(config)))`
    i : :py:`In(stream.Signature(response_layout))`
        One to each request.
    """

    def __init__(self, config: WishboneConfig):
        self.config = config
        super().__init__({
            "wb": In(wishbone_signature(config)),
            "o": Out(stream.Signature(request_layout(config))),
            "i": In(stream.Signature(response_layout)),
        })

    def elaborate(self, platform):
        m = Module()
        bus = self.wb
        wanted = Signal()  # the master still waits for the answer
        m.d.sync += [bus.ack.eq(0), bus.err.eq(0), wanted.eq(wanted & bus.cyc)]
        with m.FSM():
            with m.State("IDLE"):
                fresh = bus.cyc & bus.stb
                if not self.config.pipelined:
                    # With the answer, `stb` is still the old request's.
                    fresh &= ~(bus.ack | bus.err)
                m.d.sync += [self.o.p.address.eq(bus.adr), self.o.p.write.eq(bus.we),
                             self.o.p.data.eq(bus.dat_w), self.o.p.strobe.eq(bus.sel)]
                with m.If(fresh):
                    m.d.sync += wanted.eq(1)
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += [self.o.valid.eq(1), bus.stall.eq(self.config.pipelined)]
                with m.If(self.o.ready):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [self.i.ready.eq(1), bus.stall.eq(self.config.pipelined)]
                answered = wanted & bus.cyc
                with m.If(self.i.valid):
                    m.d.sync += [bus.ack.eq(answered & ~self.i.p.error),
                                 bus.err.eq(answered & self.i.p.error),
                                 bus.dat_r.eq(self.i.p.data)]
                    m.next = "IDLE"

        return m
