# SPDX-License-Identifier: Apache-2.0
"""Compaction: several codes a beat in, kept (index, code) pairs out, one or more a cycle."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.sparse_config import CompactorConfig

__all__ = ["Compactor", "channel_layout", "channels_layout", "group_layout"]


def group_layout(config: CompactorConfig):
    """Payload of one beat: INT8 codes, which of them are kept, and whether the vector ends."""
    return data.StructLayout({
        "codes": data.ArrayLayout(signed(8), config.lanes),
        "keep": config.lanes,
        "last": 1,
    })


def channel_layout(max_n: int):
    """Payload of one compacted element; the beat with `end` set follows the last and holds none."""
    return data.StructLayout({"index": range(max_n), "code": signed(8), "end": 1})


def channels_layout(config: CompactorConfig):
    """Payload of ``o``: one compacted element, or up to ``config.emit`` of them.

    Of several, those whose bit of `valid` is set are there, the lowest bits first; the beat with
    `end` set follows the last and holds none.
    """
    if config.emit == 1:
        return channel_layout(config.max_n)
    return data.StructLayout({
        "channels": data.ArrayLayout(data.StructLayout({"index": range(config.max_n),
                                                        "code": signed(8)}), config.emit),
        "valid": config.emit,
        "end": 1,
    })


class Compactor(wiring.Component):
    """Kept codes of a vector with their indices, in index order, then an end marker.

    Takes a beat a cycle while fewer than ``config.queue`` beats with something to emit wait; a beat
    without takes no room.  Emits in each cycle as long as something is there, from the cycle after
    its beat was taken, without bubbles: up to ``config.emit`` elements of one beat.  ``i.ready``
    and ``o.valid`` are registered.

    Members
    -------
    i : :py:`In(stream.Signature(group_layout(config)))`
        Lane l of beat b is element ``b * lanes + l``; `last` ends the vector.  Lanes past the
        vector's end must not be marked as kept.
    o : :py:`Out(stream.Signature(channels_layout(config)))`
        Elements, then one beat with `end` set whose index and code mean nothing.
    """

    def __init__(self, config: CompactorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(group_layout(config))),
            "o": Out(stream.Signature(channels_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        lanes = self.config.lanes
        entry = data.StructLayout({
            "codes": data.ArrayLayout(signed(8), lanes),
            "keep": lanes,
            "last": 1,
            "beat": range(self.config.max_beats),
        })
        m.submodules.queue = queue = fifo.SyncFIFO(width=Shape.cast(entry).width,
                                                   depth=self.config.queue)

        beat = Signal(range(self.config.max_beats))
        put = data.View(entry, queue.w_data)
        m.d.comb += [
            put.codes.eq(self.i.p.codes),
            put.keep.eq(self.i.p.keep),
            put.last.eq(self.i.p.last),
            put.beat.eq(beat),
            self.i.ready.eq(queue.w_rdy),
            queue.w_en.eq(self.i.valid & (put.keep.any() | put.last)),
        ]
        if self.config.drop_zeros:
            m.d.comb += put.keep.eq(Cat(kept & code.any()
                                        for kept, code in zip(self.i.p.keep, self.i.p.codes)))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += beat.eq(Mux(self.i.p.last, 0, beat + 1))

        head = data.View(entry, queue.r_data)
        pending = Signal(lanes)
        done = Signal(lanes)
        m.d.comb += [pending.eq(head.keep & ~done), self.o.valid.eq(queue.r_rdy),
                     self.o.p.end.eq(~pending.any())]
        rest = pending  # at last what stays pending after this cycle's elements
        for place, channel in enumerate([self.o.p] if self.config.emit == 1 else self.o.p.channels):
            if self.config.emit > 1:
                m.d.comb += self.o.p.valid[place].eq(rest.any())
            rest = self.take(m, rest, head, channel, place)
        with m.If(self.o.valid & self.o.ready):
            with m.If(rest.any() | (head.last & ~self.o.p.end)):
                m.d.sync += done.eq(~rest)
            with m.Else():
                m.d.comb += queue.r_en.eq(1)
                m.d.sync += done.eq(0)

        return m

    def take(self, m, pending, head, channel, place):
        """Put the first pending lane on `channel`; return the others."""
        lanes = self.config.lanes
        lane, rest = Signal(range(lanes), name=f"lane_{place}"), Signal(lanes, name=f"rest_{place}")
        m.d.comb += [rest.eq(pending & (pending - 1)),
                     channel.index.eq(Cat(lane, head.beat) if lanes > 1 else head.beat)]
        for n in reversed(range(lanes)):
            with m.If(pending[n]):
                m.d.comb += [lane.eq(n), channel.code.eq(head.codes[n])]
        return rest
