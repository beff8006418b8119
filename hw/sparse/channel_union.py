# SPDX-License-Identifier: Apache-2.0
"""Union of the kept channels of several vectors, with the code that each vector has there."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.batch_config import ChannelUnionConfig
from hw.sparse.compactor import channel_layout

__all__ = ["CODE_BITS", "ChannelUnion", "union_layout"]

CODE_BITS = 8


def union_layout(config):
    """Payload of a channel that any of ``config.batch`` vectors keeps; the end marker has none."""
    return data.StructLayout({
        "index": range(config.max_n), "codes": data.ArrayLayout(signed(CODE_BITS), config.batch),
        "end": 1,
    })


class ChannelUnion(wiring.Component):
    """Takes the channels of one vector after another, gives those that any of them has, in order.

    One channel a cycle in, while none goes out; one a cycle out, from ``config.latency`` cycles
    after the last vector's end marker on.  A vector that lacks a channel has the code 0 there.  The
    next vectors may come after the end marker has left.

    Members
    -------
    i_command : :py:`In(stream.Signature({"tokens": ...}))`
        Number of vectors, at least 1 and at most ``config.batch``: offered with the first channel,
        accepted as the end marker leaves.
    i : :py:`In(stream.Signature(channel_layout(config.max_n)))`
        Channels in index order, then a beat with `end` set, for each vector.
    o : :py:`Out(stream.Signature(union_layout(config)))`
        Channels in index order, then a beat with `end` set.  `valid` is registered.
    """

    def __init__(self, config: ChannelUnionConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "tokens": range(config.batch + 1),
            }))),
            "i": In(stream.Signature(channel_layout(config.max_n))),
            "o": Out(stream.Signature(union_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config, entry = self.config, self.i.p
        token = Signal(range(config.batch + 1))
        loading, priming = Signal(init=1), Signal()
        count = Signal(range(config.max_n + 1))
        take = self.i.valid & self.i.ready
        leave = self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(self.i_command.valid & loading),
            self.i_command.ready.eq(leave & self.o.p.end),
        ]
        with m.If(take):
            m.d.sync += count.eq(count + 1)
            with m.If(entry.end):
                m.d.sync += [count.eq(0), token.eq(token + 1)]
                with m.If(token + 1 == self.i_command.p.tokens):
                    m.d.sync += [token.eq(0), loading.eq(0), priming.eq(1)]
        with m.If(priming):
            m.d.sync += [priming.eq(0), self.o.valid.eq(1)]
        with m.If(self.i_command.ready):
            m.d.sync += [self.o.valid.eq(0), loading.eq(1)]

        heads = [self.list(m, number, token == number, count, priming, leave)
                 for number in range(config.batch)]
        (some, first, _), *others = heads
        index = first.index
        for there, head, _ in others:
            index = Mux(there & (~some | (head.index < index)), head.index, index)
            some = some | there
        m.d.comb += [self.o.p.index.eq(index), self.o.p.end.eq(~some)]
        for (there, head, taken), code in zip(heads, self.o.p.codes):
            m.d.comb += taken.eq(there & (head.index == index))
            with m.If(taken):
                m.d.comb += code.eq(head.code)
        return m

    def list(self, m, number, mine, count, priming, leave):
        """Keep one vector's channels; return whether one is left, that one, and its turn."""
        config, entry = self.config, self.i.p
        shape = data.StructLayout({"index": range(config.max_n), "code": signed(CODE_BITS)})
        cells = memory.Memory(shape=shape, depth=config.max_n, init=[],
                              attrs={"ram_style": "block"})
        m.submodules[f"list_{number}"] = cells
        write, read = cells.write_port(), cells.read_port()
        length = Signal(range(config.max_n + 1), name=f"length_{number}")
        place = Signal(range(config.max_n + 1), name=f"place_{number}")
        there, taken = Signal(name=f"there_{number}"), Signal(name=f"taken_{number}")
        later = place + (taken & leave)
        m.d.comb += [
            write.en.eq(self.i.valid & self.i.ready & mine & ~entry.end),
            write.addr.eq(count), write.data.index.eq(entry.index), write.data.code.eq(entry.code),
            read.en.eq(1), read.addr.eq(later),
            there.eq(place != length),
        ]
        m.d.sync += place.eq(later)
        with m.If(self.i.valid & self.i.ready & mine & entry.end):
            m.d.sync += length.eq(count)
        with m.If(self.i_command.ready):
            m.d.sync += [place.eq(0), length.eq(0)]
        return there, read.data, taken
