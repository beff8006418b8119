# SPDX-License-Identifier: Apache-2.0
"""Read commands become addresses."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.kv_config import KvCacheConfig
from hw.kv.layouts import ERROR_LAYOUT, Events, address_layout, geometry_layout, read_layout
from hw.kv.row_walk import RowWalk
from hw.kv.slot_table import finding_layout

__all__ = ["Reader"]


class Reader(wiring.Component):
    """Read commands of one side: each is looked up, then walked.

    The first address is out two cycles after its command was accepted, and commands follow each
    other without a gap.  ``i.ready`` depends on ``o.ready``.

    Members
    -------
    geometry : :py:`In(geometry_layout(config))`
    i : :py:`In(stream.Signature(read_layout(config)))`
    finding : :py:`In(finding_layout(config))`
        What the table says of the command accepted last, from the cycle after that on.
    o : :py:`Out(stream.Signature(address_layout(config)))`
        Where there is nothing to read, one row of poisoned words.
    other, conflict : In, Out
        Whether those rows are yet to be read for a command that was accepted.
    busy : Out
        Whether any are.
    events : Out
        Errors, for a cycle.
    """

    def __init__(self, config: KvCacheConfig):
        self.config = config
        super().__init__({
            "geometry": In(geometry_layout(config)),
            "i": In(stream.Signature(read_layout(config))),
            "finding": In(finding_layout(config)),
            "o": Out(stream.Signature(address_layout(config))),
            "other": In(read_layout(config)), "conflict": Out(1), "busy": Out(1),
            "events": Out(ERROR_LAYOUT),
        })

    def elaborate(self, platform):
        m = Module()
        config, found = self.config, self.finding
        m.submodules.walk = walk = RowWalk(config)
        wiring.connect(m, walk.o, wiring.flipped(self.o))
        waiting = Signal()
        asked, walked = Signal(read_layout(config)), Signal(read_layout(config))
        start = waiting & walk.i.ready
        m.d.comb += [
            walk.geometry.eq(self.geometry), walk.i.valid.eq(waiting),
            self.i.ready.eq(~waiting | walk.i.ready),
            self.busy.eq(waiting | walk.o.valid),
            self.conflict.eq((waiting & (asked == self.other))
                             | (walk.o.valid & (walked == self.other))),
        ]
        with m.If(start):
            m.d.sync += [waiting.eq(0), walked.eq(asked)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [waiting.eq(1), asked.eq(self.i.payload)]

        events = Events()
        fault = found.slot | found.stream
        unwritten = ~fault & (found.length == 0) & ~found.appended
        m.d.comb += walk.i.payload.eq(found.read)
        with m.If(fault | unwritten):
            m.d.comb += [walk.i.payload.eq(0), walk.i.p.poison.eq(1), walk.i.p.rows.eq(1)]
        with m.If(start):
            m.d.comb += [events.slot.eq(found.slot),
                         events.stream.eq(found.stream & ~found.slot),
                         events.unwritten.eq(unwritten)]
        m.d.comb += self.events.eq(events.as_value())
        return m
