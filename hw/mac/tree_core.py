# SPDX-License-Identifier: Apache-2.0
"""Array core made of adder trees."""

from amaranth import *
from amaranth.lib import memory, wiring

from golden_model.config import ArrayConfig
from hw.emit import once
from hw.mac import layouts
from hw.mac.core import CoreSignature
from hw.mac.ternary_dot import TernaryDot

__all__ = ["TreeCore"]


class TreeCore(wiring.Component):
    """One `TernaryDot` a row, all on the word of activations that a block RAM reads.

    One beat a cycle, ``config.core_latency`` cycles late.  ``i.ready`` depends combinationally on
    ``o.ready``: the trees stall as a whole while ``o`` holds sums that are not accepted, the stage
    ahead of them, which reads the memory, just once it is full.  ``i_x`` is always ready.

    Members
    -------
    i_x, i, o :
        See :class:`hw.mac.core.CoreSignature`.
    """

    def __init__(self, config: ArrayConfig, tag=layouts.tag):
        self.config = config
        super().__init__(CoreSignature(config, tag))

    def elaborate(self, platform):
        config = self.config
        m = Module()

        # Block RAM: in LUTs this memory would outweigh a narrow array.
        m.submodules.words = words = memory.Memory(
            shape=layouts.word(config), depth=1 << layouts.address(config).size, init=[],
            attrs={"ram_style": "block", "no_rw_check": 1})
        write, read = words.write_port(), words.read_port()
        m.d.comb += [
            self.i_x.ready.eq(1),
            write.en.eq(self.i_x.valid),
            write.addr.eq(self.i_x.p.address),
            write.data.eq(self.i_x.p.x),
        ]

        w = Signal.like(self.i.p.w, reset_less=True)
        tag = Signal.like(self.i.p.tag, reset_less=True)
        loaded = Signal()
        rows = [once(platform, TernaryDot, config.dot) for _ in range(config.rows)]
        m.d.comb += [
            self.i.ready.eq(accept := ~loaded | rows[0].i.ready),
            read.en.eq(accept & self.i.valid),
            read.addr.eq(self.i.p.address),
            self.o.valid.eq(rows[0].o.valid),
        ]
        with m.If(accept):
            m.d.sync += [loaded.eq(self.i.valid), w.eq(self.i.p.w), tag.eq(self.i.p.tag)]
        for n, row in enumerate(rows):
            m.submodules[f"row_{n}"] = row
            m.d.comb += [
                row.i.valid.eq(loaded),
                row.i.p.w.eq(w[n]),
                row.i.p.x.eq(read.data),
                row.o.ready.eq(self.o.ready),
                self.o.p.sums[n].eq(row.o.payload),
            ]

        with m.If(rows[0].i.ready):
            for stage in range(config.dot.latency):
                held = Signal.like(tag, name=f"tag_{stage}", reset_less=True)
                m.d.sync += held.eq(tag)
                tag = held
        m.d.comb += self.o.p.tag.eq(tag)
        return m
