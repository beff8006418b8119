# SPDX-License-Identifier: Apache-2.0
"""Read commands become addresses."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.kv_config import KvCacheConfig
from hw.kv.layouts import (
    ERROR_LAYOUT,
    Events,
    address_layout,
    geometry_layout,
    read_layout,
    same_stream,
    stream_layout,
    written_layout,
)
from hw.kv.row_walk import RowWalk
from hw.kv.slot_table import finding_layout

__all__ = ["Reader"]


class Reader(wiring.Component):
    """Read commands of one side: each is looked up, then walked.

    The first address is out two cycles after its command was accepted, and commands follow each
    other without a gap.  ``i.ready`` depends on ``o.ready``.  With `newest` the addresses of the
    last row wait until that is written, of keys the value's too.

    Members
    -------
    geometry : :py:`In(geometry_layout(config))`
    i : :py:`In(stream.Signature(read_layout(config)))`
    finding : :py:`In(finding_layout(config))`
        What the table says of the command accepted last, from the cycle after that on.
    o : :py:`Out(stream.Signature(address_layout(config)))`
        Where there is nothing to read, one row of poisoned words.
    other, conflict : In, Out
        Whether those rows are yet to be read for a command that was accepted, which does not wait
        for the one that is to come.
    written : :py:`In(written_layout(config))`
        Whose row was given its last word a cycle ago.
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
            "other": In(stream_layout(config)), "conflict": Out(1), "busy": Out(1),
            "written": In(written_layout(config)),
            "events": Out(ERROR_LAYOUT),
        })

    def elaborate(self, platform):
        m = Module()
        config, found = self.config, self.finding
        m.submodules.walk = walk = RowWalk(config)
        waiting, early = Signal(), Signal()
        lacks = Signal(2)  # rows of the walk that are not written yet
        asked, walked = Signal(read_layout(config)), Signal(read_layout(config))
        start = waiting & walk.i.ready
        m.d.comb += [
            walk.geometry.eq(self.geometry), walk.i.valid.eq(waiting),
            self.i.ready.eq(~waiting | walk.i.ready),
            self.busy.eq(waiting | walk.o.valid),
            self.conflict.eq((waiting & ~asked.newest & same_stream(asked, self.other))
                             | (walk.o.valid & ~walked.newest & same_stream(walked, self.other))),
            early.eq(walk.last_row & lacks.any()),
            self.o.payload.eq(walk.o.payload), self.o.valid.eq(walk.o.valid & ~early),
            walk.o.ready.eq(self.o.ready & ~early),
        ]
        with m.If(self.written.valid & same_stream(walked, self.written)):
            m.d.sync += lacks.bit_select(self.written.value, 1).eq(0)
        with m.If(start):
            m.d.sync += [waiting.eq(0), walked.eq(asked), lacks.eq(found.lacks)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [waiting.eq(1), asked.eq(self.i.payload)]

        events = Events()
        fault = found.slot | found.stream
        unwritten = ~fault & (found.length == 0) & ~found.appended & ~asked.newest
        m.d.comb += walk.i.payload.eq(found.read)
        with m.If(fault | unwritten):
            m.d.comb += [walk.i.payload.eq(0), walk.i.p.poison.eq(1), walk.i.p.rows.eq(1)]
            with m.If(start):
                m.d.sync += lacks.eq(0)
        with m.If(start):
            m.d.comb += [events.slot.eq(found.slot),
                         events.stream.eq(found.stream & ~found.slot),
                         events.unwritten.eq(unwritten)]
        m.d.comb += self.events.eq(events.as_value())
        return m
