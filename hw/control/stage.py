# SPDX-License-Identifier: Apache-2.0
"""A register in a stream, so that its data come from where they are needed."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Stage"]


class Stage(wiring.Component):
    """Passes a stream on one cycle later, at full throughput.

    It cuts a path of logic in the direction of the stream, as :class:`hw.control.slack.Slack` does
    against it: ``o.valid`` and ``o.payload`` are registered; ``i.ready`` depends combinationally on
    ``o.ready``.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o : :py:`Out(stream.Signature(shape))`
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        return m
