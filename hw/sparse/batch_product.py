# SPDX-License-Identifier: Apache-2.0
"""Sparse product of several vectors with one matrix: a column is fetched once for all of them."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.batch_config import BatchProductConfig
from hw.mac.trit_unpacker import TritUnpacker
from hw.sparse.channel_union import CODE_BITS, union_layout
from hw.sparse.sparse_product import sums_layout

__all__ = ["BatchProduct"]

_SHALLOW = 32


def lowest(mask):
    """Return the number of a mask's lowest set bit."""
    number = C(len(mask) - 1)
    for n in reversed(range(len(mask) - 1)):
        number = Mux(mask[n], n, number)
    return number


class BatchProduct(wiring.Component):
    """Sums of ``code * column`` for each of several vectors, `width` outputs of one a cycle.

    As :class:`hw.sparse.sparse_product.SparseProduct`, for channels that carry a code of each
    token.  A column is requested if any of them is not zero.  Each of its beats stays while the
    tokens whose code is not zero add it, one a cycle, to sums of their own; with the first channel
    and the last one every token does, which starts its sums and lets them leave.  So beats are
    those of the union, and cycles those of the vectors one after another, but for at most
    ``2 * (tokens - 1) * blocks``.

    :mod:`golden_model.sparse.batch_product` gives the cycle of every transfer.  The pipeline of
    beats stalls as a whole while ``o`` holds sums that are not accepted; ``i.ready`` depends on
    ``i.payload`` and ``o_request.ready``.

    Members
    -------
    i_command : :py:`In(stream.Signature({"blocks": ..., "tokens": ...}))`
        ``ceil(M / width)`` and the number of vectors, each at least 1.  Accepted with the last
        beat of weights in use.
    i : :py:`In(stream.Signature(union_layout(config)))`
        Channels, then a beat with `end` set, as :class:`hw.sparse.channel_union.ChannelUnion` emits
        them.  Codes of tokens past the command's are zero.
    o_request : :py:`Out(stream.Signature(range(config.max_n)))`
        Columns to fetch; at least ``config.in_flight`` are requested ahead of their weights.
    i_weights : :py:`In(stream.Signature(config.unpacker.packed_bits))`
        Packed columns in the order of the requests, ``blocks`` beats each.
    o : :py:`Out(stream.Signature(sums_layout(config)))`
        The first block's sums of each token in turn, then the second's and so on; `last` marks the
        last of all.  Zeros for a token without channels.
    """

    def __init__(self, config: BatchProductConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "blocks": range(config.max_blocks + 1), "tokens": range(config.batch + 1),
            }))),
            "i": In(stream.Signature(union_layout(config))),
            # A port of no bits would be one of two in Verilog.
            "o_request": Out(stream.Signature(range(max(config.max_n, 2)))),
            "i_weights": In(stream.Signature(config.unpacker.packed_bits)),
            "o": Out(stream.Signature(sums_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        entry = data.StructLayout({"codes": self.i.p.codes.shape(), "active": self.config.batch,
                                   "last": 1, "empty": 1})
        m.submodules.queue = queue = fifo.SyncFIFO(width=entry.size, depth=self.config.in_flight)
        self.request(m, queue, data.View(entry, queue.w_data))
        self.accumulate(m, queue, data.View(entry, queue.r_data))
        return m

    def request(self, m, queue, put):
        """Request columns and queue their codes, once it is known whether one is the last."""
        held, held_codes = Signal(), Signal(self.i.p.codes.shape(), reset_less=True)
        held_active = Signal(self.config.batch, reset_less=True)
        active = Cat(code != 0 for code in self.i.p.codes)
        room = Signal()
        m.d.comb += [
            room.eq(queue.w_rdy | ~held),
            put.codes.eq(Mux(held, held_codes.as_value(), 0)),
            put.active.eq(held_active),
            put.last.eq(self.i.p.end),
            put.empty.eq(~held),
            self.o_request.payload.eq(self.i.p.index),
        ]
        with m.If(self.i.p.end):
            m.d.comb += [self.i.ready.eq(queue.w_rdy), queue.w_en.eq(self.i.valid)]
            with m.If(self.i.valid & queue.w_rdy):
                m.d.sync += held.eq(0)
        with m.Elif(~active.any()):
            m.d.comb += self.i.ready.eq(1)
        with m.Else():
            m.d.comb += [
                self.o_request.valid.eq(self.i.valid & room),
                self.i.ready.eq(self.o_request.ready & room),
                queue.w_en.eq(self.i.valid & self.i.ready & held),
            ]
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += [held.eq(1), held_codes.eq(self.i.p.codes), held_active.eq(active)]

    def accumulate(self, m, queue, head):
        """Add one beat of the column at the head of the queue to one token's sums a cycle."""
        config = self.config
        width, bits, count = config.width, config.sum_bits, config.batch
        m.submodules.unpacker = unpacker = TritUnpacker(config.unpacker)
        wiring.connect(m, wiring.flipped(self.i_weights), unpacker.i)
        place = data.StructLayout({"token": range(max(count, 2)),
                                   "block": range(config.max_blocks)})
        depth = config.max_blocks << place["token"].width
        m.submodules.sums = cells = memory.Memory(
            shape=data.ArrayLayout(signed(bits), width), depth=depth, init=[],
            attrs={"ram_style": "block"} if depth > _SHALLOW else {})
        write, read = cells.write_port(), cells.read_port()

        advance = ~self.o.valid | self.o.ready
        here = Signal(place)
        block = Signal(range(config.max_blocks))
        done, rest = Signal(count), Signal(count)  # tokens that have added this beat, and others
        first = Signal(init=1)  # the column is the first: sums start from zero
        present, step, served, column_ends = Signal(), Signal(), Signal(), Signal()
        every = Cat(self.i_command.p.tokens > n for n in range(count))
        m.d.comb += [
            rest.eq(Mux(first | head.last, every, head.active) & ~done),
            served.eq((rest & (rest - 1)[:count]) == 0),
            here.token.eq(lowest(rest)), here.block.eq(block),
            present.eq(queue.r_rdy & self.i_command.valid & advance),
            unpacker.o.ready.eq(present & ~head.empty & served),
            step.eq(present & (head.empty | unpacker.o.valid)),
            column_ends.eq(block == self.i_command.p.blocks - 1),
            queue.r_en.eq(step & served & column_ends),
            self.i_command.ready.eq(queue.r_en & head.last),
            read.en.eq(step), read.addr.eq(here),
        ]
        with m.If(step):
            m.d.sync += done.eq(Mux(served, 0, done | rest & -rest))
            with m.If(served):
                m.d.sync += block.eq(Mux(column_ends, 0, block + 1))
                with m.If(column_ends):
                    m.d.sync += first.eq(head.last)

        # The terms of a beat, while its sums are read.  A complement lacks one to be the negative.
        adding, adding_last, adding_ends = Signal(), Signal(), Signal()
        start, again = Signal(), Signal()
        adding_place = Signal(place, reset_less=True)
        with m.If(advance):
            m.d.sync += adding.eq(step)
        with m.If(step):
            m.d.sync += [adding_last.eq(head.last), adding_ends.eq(served & column_ends),
                         start.eq(first), adding_place.eq(here),
                         # Those sums are being made: they are not in the memory yet.
                         again.eq(adding & (adding_place.as_value() == here.as_value()))]
        code = head.codes[here.token]
        sums = []
        for n, trit in enumerate(unpacker.o.payload):
            trit = Value.cast(trit)
            term = Signal(signed(CODE_BITS), name=f"term_{n}", reset_less=True)
            lacks = Signal(name=f"lacks_{n}", reset_less=True)
            with m.If(step):
                m.d.sync += [
                    term.eq((code ^ trit[1].replicate(CODE_BITS)) & trit[0].replicate(CODE_BITS)),
                    lacks.eq(trit.all()),
                ]
            base = Mux(again, self.o.p.sums[n], read.data[n]) & (~start).replicate(bits)
            # The carry enters through a column below: no second adder.
            total = Cat(C(1, 1), base).as_signed() + Cat(lacks, term).as_signed()
            sums.append(total[1:bits + 1])
        m.d.comb += [
            write.en.eq(adding & advance),
            write.addr.eq(adding_place),
            Value.cast(write.data).eq(Cat(sums)),
        ]
        with m.If(advance):
            m.d.sync += self.o.valid.eq(adding & adding_last)
            with m.If(adding):
                m.d.sync += [Value.cast(self.o.p.sums).eq(Cat(sums)),
                             self.o.p.last.eq(adding_ends)]
