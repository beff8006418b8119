# SPDX-License-Identifier: Apache-2.0
"""Sparse product: INT8 channels x ternary columns; zero channels cost nothing."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.sparse_config import SparseProductConfig
from hw.mac.carry_cells import add_columns, on_ecp5
from hw.mac.trit_unpacker import TritUnpacker
from hw.sparse.compactor import channel_layout

__all__ = ["SparseProduct", "sums_layout"]

_CODE_BITS = 8
_FEW = 2
"""Blocks up to which sums are kept in registers."""
_SHALLOW = 32


def sums_layout(config: SparseProductConfig):
    """Payload of ``o``: a beat of sums, and whether it is the vector's last."""
    return data.StructLayout({
        "sums": data.ArrayLayout(signed(config.sum_bits), config.width), "last": 1,
    })


class SparseProduct(wiring.Component):
    """Sums of ``code * column`` over the channels that are there, `width` outputs a cycle.

    The sums stay (output-stationary) while channels come by.  One whose code is not zero has its
    column requested at once and takes ``blocks`` cycles, one for each beat of the column, whatever
    came before: no pattern of indices conflicts, and one or two blocks are as fast as many.  A zero
    code costs nothing but its cycle on ``i``; without ``config.zeros`` none must come.  The last
    channel's sums leave as they are made, so there is no drain, and the next vector may follow
    without a gap.  A vector without channels gives zeros, in ``blocks`` cycles.  So any pattern of
    n channels and M outputs takes ``n * M / width`` cycles and a fixed latency, if `width` divides
    M; if not, the last beat is padded.

    :mod:`golden_model.sparse.sparse_product` gives the cycle of every transfer.  The pipeline of
    beats stalls as a whole while ``o`` holds sums that are not accepted; ``i.ready`` depends on
    ``i.payload`` and ``o_request.ready``.

    Members
    -------
    i_command : :py:`In(stream.Signature({"blocks": ...}))`
        ``ceil(M / width)``, at least 1: beats of each column and of the result.  One command a
        vector, accepted with the vector's last beat.
    i : :py:`In(stream.Signature(channel_layout(config.max_n)))`
        Channels, then a beat with `end` set, as :class:`hw.sparse.compactor.Compactor` emits them.
    o_request : :py:`Out(stream.Signature(range(config.max_n)))`
        Columns to fetch; at least ``config.in_flight`` are requested ahead of their weights.
    i_weights : :py:`In(stream.Signature(config.unpacker.packed_bits))`
        Packed columns in the order of the requests, ``blocks`` beats each.
    o : :py:`Out(stream.Signature(sums_layout(config)))`
        Sums, ``blocks`` beats a vector; they cannot overflow.  Lanes past M hold the sums of
        whatever trits the weights have there.
    """

    def __init__(self, config: SparseProductConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "blocks": range(config.max_blocks + 1),
            }))),
            "i": In(stream.Signature(channel_layout(config.max_n))),
            # A port of no bits would be one of two in Verilog.
            "o_request": Out(stream.Signature(range(max(config.max_n, 2)))),
            "i_weights": In(stream.Signature(config.unpacker.packed_bits)),
            "o": Out(stream.Signature(sums_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        entry = data.StructLayout({"code": signed(_CODE_BITS), "last": 1, "empty": 1})
        m.submodules.queue = queue = fifo.SyncFIFO(width=entry.size, depth=self.config.in_flight)
        self.request(m, queue, data.View(entry, queue.w_data))
        self.accumulate(m, platform, queue, data.View(entry, queue.r_data))
        return m

    def request(self, m, queue, put):
        """Request columns and queue their codes; a code is queued once its successor is known."""
        held, held_code = Signal(), Signal(signed(_CODE_BITS), reset_less=True)
        room = Signal()
        m.d.comb += [
            room.eq(queue.w_rdy | ~held),
            put.code.eq(Mux(held, held_code, 0)),
            put.last.eq(self.i.p.end),
            put.empty.eq(~held),
            self.o_request.payload.eq(self.i.p.index),
        ]
        with m.If(self.i.p.end):
            m.d.comb += [self.i.ready.eq(queue.w_rdy), queue.w_en.eq(self.i.valid)]
            with m.If(self.i.valid & queue.w_rdy):
                m.d.sync += held.eq(0)
        with m.Elif((self.i.p.code == 0) if self.config.zeros else C(0, 1)):
            m.d.comb += self.i.ready.eq(1)
        with m.Else():
            m.d.comb += [
                self.o_request.valid.eq(self.i.valid & room),
                self.i.ready.eq(self.o_request.ready & room),
                queue.w_en.eq(self.i.valid & self.i.ready & held),
            ]
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += [held.eq(1), held_code.eq(self.i.p.code)]

    def accumulate(self, m, platform, queue, head):
        """Add one beat of the column at the head of the queue a cycle."""
        width, bits = self.config.width, self.config.sum_bits
        m.submodules.unpacker = unpacker = TritUnpacker(self.config.unpacker)
        wiring.connect(m, wiring.flipped(self.i_weights), unpacker.i)

        advance = ~self.o.valid | self.o.ready
        block = Signal(range(self.config.max_blocks))
        first = Signal(init=1)  # the column is the vector's first: sums start from zero
        present, step, column_ends = Signal(), Signal(), Signal()
        m.d.comb += [
            present.eq(queue.r_rdy & self.i_command.valid & advance),
            unpacker.o.ready.eq(present & ~head.empty),
            step.eq(present & (head.empty | unpacker.o.valid)),
            column_ends.eq(block == self.i_command.p.blocks - 1),
            queue.r_en.eq(step & column_ends),
            self.i_command.ready.eq(step & column_ends & head.last),
        ]
        with m.If(step):
            m.d.sync += block.eq(Mux(column_ends, 0, block + 1))
            with m.If(column_ends):
                m.d.sync += first.eq(head.last)

        # The terms of a beat, while its sums are read.  A complement lacks one to be the negative.
        adding, start = Signal(name="adding"), Signal(name="start")
        adding_last, adding_ends = Signal(name="adding_last"), Signal(name="adding_ends")
        adding_block = Signal.like(block, reset_less=True)
        written = Signal(data.ArrayLayout(signed(bits), width))
        before = self.sums(m, step, block, adding & advance, adding_block, written)
        with m.If(advance):
            m.d.sync += adding.eq(step)
        with m.If(step):
            m.d.sync += [adding_last.eq(head.last), adding_ends.eq(column_ends),
                         start.eq(first), adding_block.eq(block)]
        sums = []
        for n, trit in enumerate(unpacker.o.payload):
            trit = Value.cast(trit)
            term = Signal(signed(_CODE_BITS), name=f"term_{n}", reset_less=True)
            lacks = Signal(name=f"lacks_{n}", reset_less=True)
            with m.If(step):
                m.d.sync += [
                    term.eq((head.code ^ trit[1].replicate(_CODE_BITS))
                            & trit[0].replicate(_CODE_BITS)),
                    lacks.eq(trit.all()),
                ]
            if on_ecp5(platform):
                # What was there before is left out by cells that it takes anyway.
                total = add_columns(m, f"sum_{n}", lacks, [
                    (term[min(k, _CODE_BITS - 1)], before[n][k], C(0), ~start)
                    for k in range(bits)])
            else:
                base = before[n] & (~start).replicate(bits)
                # The carry enters through a column below: no second adder.
                total = (Cat(C(1, 1), base).as_signed() + Cat(lacks, term).as_signed())[1:bits + 1]
            sums.append(total)
        m.d.comb += Value.cast(written).eq(Cat(sums))
        with m.If(advance):
            m.d.sync += self.o.valid.eq(adding & adding_last)
            with m.If(adding):
                m.d.sync += [Value.cast(self.o.p.sums).eq(Cat(sums)),
                             self.o.p.last.eq(adding_ends)]

    def sums(self, m, step, block, writing, adding_block, written):
        """Keep the sums; return those of the block that `step` named, a cycle later."""
        shape, blocks = written.shape(), self.config.max_blocks
        if blocks == 1:
            return self.o.p.sums  # they are always the newest
        if blocks <= _FEW:
            # Registers, read where they are added to, take no LUT more than memory's output would.
            cells = [Signal(shape, name=f"sums_{n}", reset_less=True) for n in range(blocks)]
            for n, cell in enumerate(cells):
                with m.If(writing & (adding_block == n)):
                    m.d.sync += cell.eq(written)
            return data.View(shape, Array(Value.cast(cell) for cell in cells)[adding_block])
        # Distributed memory costs more LUTs than a block RAM is worth, unless it is shallow.
        style = {"ram_style": "block"} if blocks > _SHALLOW else {}
        m.submodules.sums = cells = memory.Memory(shape=shape, depth=blocks, init=[], attrs=style)
        write, read = cells.write_port(), cells.read_port()
        single = Signal()
        with m.If(step):
            # A column of one beat: the sums are not in the memory yet.
            m.d.sync += single.eq(self.i_command.p.blocks == 1)
        m.d.comb += [read.en.eq(step), read.addr.eq(block), write.en.eq(writing),
                     write.addr.eq(adding_block), write.data.eq(written)]
        return data.View(shape, Mux(single, Value.cast(self.o.p.sums), Value.cast(read.data)))
