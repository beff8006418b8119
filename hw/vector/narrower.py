# SPDX-License-Identifier: Apache-2.0
"""Narrow beats of wide ones."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.stream_config import NarrowerConfig

__all__ = ["Narrower"]


class Narrower(wiring.Component):
    """A vector of wide beats as narrow ones, without delay: a narrow beat a cycle.

    A wide beat is accepted with the last of its parts that the vector has; nothing is stored.
    ``i.ready`` depends combinationally on ``o.ready``.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"beats": ..., "single": 1})))`
        Narrow beats of the vector, at least 1, and whether it is 1.  Accepted with the last.
    i : :py:`In(stream.Signature(ArrayLayout(signed(config.bits), config.width)))`
    o : :py:`Out(stream.Signature(StructLayout({"values": signed(bits)[lanes], "last": 1})))`
    """

    def __init__(self, config: NarrowerConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "beats": range(config.max_beats + 1), "single": 1,
            }))),
            "i": In(stream.Signature(data.ArrayLayout(signed(config.bits), config.width))),
            "o": Out(stream.Signature(data.StructLayout({
                "values": data.ArrayLayout(signed(config.bits), config.lanes), "last": 1,
            }))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        part, final = Signal(range(max(config.parts, 2))), Signal(init=config.parts == 1)
        following = Signal(range(config.max_beats + 2), init=2)   # number of the beat after next
        first, ends = Signal(init=1), Signal()   # of the next beat; `ends` of none that is first
        ends_wide = Signal()   # the next beat is the last of a wide one
        wide, size = Value.cast(self.i.payload), config.lanes * config.bits
        parts = Array(wide[n * size:(n + 1) * size] for n in range(config.parts))
        accepted = self.o.valid & self.o.ready
        m.d.comb += [
            self.o.valid.eq(self.i.valid & self.i_command.valid),
            Value.cast(self.o.p.values).eq(parts[part]),
            self.o.p.last.eq(Mux(first, self.i_command.p.single, ends)),
            # Whether or not there is something to accept.
            ends_wide.eq(final | self.o.p.last),
            self.i.ready.eq(self.o.ready & self.i_command.valid & ends_wide),
            self.i_command.ready.eq(accepted & self.o.p.last),
        ]
        with m.If(accepted):
            if config.parts > 1:
                m.d.sync += final.eq(~ends_wide & (part == config.parts - 2))
            m.d.sync += [part.eq(Mux(ends_wide, 0, part + 1)), first.eq(self.o.p.last),
                         ends.eq(following == self.i_command.p.beats),
                         following.eq(Mux(self.o.p.last, 2, following + 1))]
        return m
