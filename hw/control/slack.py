# SPDX-License-Identifier: Apache-2.0
"""Room for one transfer, so that a stream's ``ready`` comes from a register."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Slack"]


class Slack(wiring.Component):
    """Passes a stream on without delay; what is not taken at once waits in a register.

    It cuts a path of logic against the direction of the stream, and costs neither a cycle nor
    throughput: the sender may be one transfer ahead of the reader.  ``i.ready`` is registered;
    ``o.valid`` and ``o.payload`` depend combinationally on ``i``.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o : :py:`Out(stream.Signature(shape))`
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        waiting, held = Signal(), Signal.like(self.i.payload, reset_less=True)
        m.d.sync += waiting.eq(self.o.valid & ~self.o.ready)
        with m.If(~waiting):
            m.d.sync += held.eq(self.i.payload)
        m.d.comb += [
            self.i.ready.eq(~waiting), self.o.valid.eq(waiting | self.i.valid),
            self.o.payload.eq(Mux(waiting, held, self.i.payload)),
        ]
        return m
