# SPDX-License-Identifier: Apache-2.0
"""Addresses of a stream's rows, one word a cycle, without a multiplier."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.kv_config import KvCacheConfig
from hw.kv.layouts import address_layout, geometry_layout, walk_layout

__all__ = ["RowWalk"]


class RowWalk(wiring.Component):
    """The words of some rows of one stream, oldest first.

    Word w of ring row r of stream `index` lies at ``(r * words + w) * stride + index``: neighbours
    are `stride` apart, within a row and across rows, and the ring ends at ``code_end``.  Its scale
    is at ``r * stride + index``; scales of first tokens lie behind those of the ring.

    The first address is offered a cycle after its command was accepted; a command is accepted with
    the last address of the one before, so that there is no cycle between them.  ``i.ready``
    depends on ``o.ready``.

    Members
    -------
    geometry : :py:`In(geometry_layout(config))`
        Must not change while a command is in work.
    cancel : :py:`In(1)`
        Drops what is left of the command in work.
    i : :py:`In(stream.Signature(walk_layout(config)))`
        At least one row, the first token's included; `code` and `scale` are the ring's row to begin
        with, less `index`.  `poison` and `bare` are passed on.
    o : :py:`Out(stream.Signature(address_layout(config)))`
    last_row : Out
        What is on ``o`` is a word of the last row.
    """

    def __init__(self, config: KvCacheConfig):
        self.config = config
        super().__init__({
            "geometry": In(geometry_layout(config)),
            "cancel": In(1),
            "i": In(stream.Signature(walk_layout(config))),
            "o": Out(stream.Signature(address_layout(config))),
            "last_row": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        config, shape = self.config, self.geometry
        word = Signal(range(config.row_words))
        left = Signal(range(config.window))  # rows after this one
        ring_code = Signal.like(self.o.p.code)
        ring_scale = Signal.like(self.o.p.scale)
        next_code, next_scale = Signal.like(ring_code), Signal.like(ring_scale)

        def step(at, end):
            """Return the address one stride on, around the ring's end."""
            following = at + shape.stride
            return Mux(following >= end, following - end, following)

        m.d.comb += [
            next_code.eq(Mux(self.o.p.bos, self.o.p.code + shape.stride,
                             step(self.o.p.code, shape.code_end))),
            next_scale.eq(step(self.o.p.scale, shape.scale_end)),
            self.o.p.last_word.eq(word + 1 >= shape.words),  # of no geometry one word
            self.o.p.last.eq(self.o.p.last_word & self.last_row),
            self.i.ready.eq(~self.o.valid | (self.o.ready & self.o.p.last)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [word.eq(word + 1), self.o.p.code.eq(next_code)]
            with m.If(self.o.p.last_word):
                m.d.sync += [word.eq(0), left.eq(left - 1), self.last_row.eq(left == 1),
                             self.o.p.bos.eq(0), self.o.p.scale.eq(
                                 Mux(self.o.p.bos, ring_scale, next_scale))]
                with m.If(self.o.p.bos):
                    m.d.sync += self.o.p.code.eq(ring_code)
            with m.If(self.o.p.last):
                m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            code, scale = self.i.p.code + self.i.p.index, self.i.p.scale + self.i.p.index
            m.d.sync += [
                self.o.valid.eq(1), self.o.p.bos.eq(self.i.p.bos), word.eq(0),
                self.o.p.poison.eq(self.i.p.poison), self.o.p.bare.eq(self.i.p.bare),
                left.eq(self.i.p.rows - ~self.i.p.bos),
                self.last_row.eq(self.i.p.rows == ~self.i.p.bos),
                ring_code.eq(code), ring_scale.eq(scale),
                self.o.p.code.eq(Mux(self.i.p.bos, self.i.p.index, code)),
                self.o.p.scale.eq(Mux(self.i.p.bos, shape.scale_end + self.i.p.index, scale)),
            ]
        with m.If(self.cancel):
            m.d.sync += self.o.valid.eq(0)
        return m
