# SPDX-License-Identifier: Apache-2.0
"""Row gather: ternary matrix times vector, computed and fetched for active rows only."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.sparse_config import RowGatherConfig
from hw.delay import later
from hw.mac.ternary_dot import TernaryDot
from hw.mac.trit_unpacker import TritUnpacker

__all__ = ["RowGather", "row_layout", "sum_layout"]


def row_layout(config: RowGatherConfig):
    """Payload of ``i``: a row to compute, or the end marker that follows the last."""
    return data.StructLayout({"index": range(config.max_rows), "end": 1})


def sum_layout(config: RowGatherConfig):
    """Payload of ``o``: a row's sum, or the end marker."""
    return data.StructLayout({
        "index": range(config.max_rows), "sum": signed(config.sum_bits), "end": 1,
    })


class RowGather(wiring.Component):
    """Sums of the rows named on ``i``: `blocks` cycles a row, nothing for a row that is not named.

    The vector is loaded ahead; then each row is requested as it is named and its beats are
    multiplied as they arrive, `width` elements a cycle, without gaps between rows.  Sums come in
    the order of the rows, the end marker after the last.
    :mod:`golden_model.sparse.row_gather` gives the cycle of every transfer.

    The pipeline stalls while ``o`` holds a sum that is not accepted.  ``i.ready`` depends on
    ``i.payload`` and ``o_request.ready``.

    Members
    -------
    i_vector : :py:`In(stream.Signature(ArrayLayout(signed(config.digit_bits), config.width)))`
        The vector, ``blocks`` beats, the last one filled up with zeros.  Always ready: the parent
        loads it after the end marker of the vector before has left ``o``, while `i_command` offers
        its blocks, and names rows when it is complete.
    i_command : :py:`In(stream.Signature({"blocks": ...}))`
        ``ceil(K / width)``, at least 1: beats of the vector and of each row.  One command a
        vector, offered from its first beat on, accepted with the end marker.
    i : :py:`In(stream.Signature(row_layout(config)))`
        Rows in any order, then a beat with `end` set.
    o_request : :py:`Out(stream.Signature(range(config.max_rows)))`
        Rows to fetch; at least ``config.in_flight`` are requested ahead of their weights.
    i_weights : :py:`In(stream.Signature(config.unpacker.packed_bits))`
        Packed rows in the order of the requests, ``blocks`` beats each.
    o : :py:`Out(stream.Signature(sum_layout(config)))`
        Sums, which cannot overflow; the sum and index of the beat with `end` set mean nothing.
    """

    def __init__(self, config: RowGatherConfig):
        self.config = config
        super().__init__({
            "i_vector": In(stream.Signature(data.ArrayLayout(signed(config.digit_bits),
                                                             config.width))),
            "i_command": In(stream.Signature(data.StructLayout({
                "blocks": range(config.max_blocks + 1),
            }))),
            "i": In(stream.Signature(row_layout(config))),
            # A port of no bits would be one of two in Verilog.
            "o_request": Out(stream.Signature(range(max(config.max_rows, 2)))),
            "i_weights": In(stream.Signature(config.unpacker.packed_bits)),
            "o": Out(stream.Signature(sum_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.unpacker = unpacker = TritUnpacker(config.unpacker)
        wiring.connect(m, wiring.flipped(self.i_weights), unpacker.i)

        # Rows under way.  The end marker takes its turn among them, without weights.
        entry = row_layout(config)
        m.submodules.queue = queue = fifo.SyncFIFO(width=entry.size, depth=config.in_flight)
        head = data.View(entry, queue.r_data)
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid & self.i.ready),
            self.o_request.payload.eq(self.i.p.index),
            self.o_request.valid.eq(self.i.valid & ~self.i.p.end & queue.w_rdy),
            self.i.ready.eq(queue.w_rdy & (self.i.p.end | self.o_request.ready)),
        ]

        m.submodules.vector = cells = memory.Memory(shape=self.i_vector.payload.shape(),
                                                    depth=config.max_blocks, init=[])
        write, read = cells.write_port(), cells.read_port()
        loaded = Signal(range(config.max_blocks))
        m.d.comb += [
            self.i_vector.ready.eq(1),
            write.en.eq(self.i_vector.valid), write.addr.eq(loaded),
            write.data.eq(self.i_vector.payload),
        ]
        with m.If(write.en):
            m.d.sync += loaded.eq(Mux(loaded == self.i_command.p.blocks - 1, 0, loaded + 1))

        # One beat a cycle goes to the dot product; where it belongs travels beside it.
        m.submodules.dot = dot = TernaryDot(config.dot)
        advance = dot.i.ready  # of the whole pipeline up to the dot product's sums
        block = Signal(range(config.max_blocks))
        row_starts = Signal(init=1)
        present, step, row_ends = Signal(), Signal(), Signal()
        m.d.comb += [
            present.eq(queue.r_rdy & self.i_command.valid & advance),
            unpacker.o.ready.eq(present & ~head.end),
            step.eq(present & (head.end | unpacker.o.valid)),
            row_ends.eq(head.end | (block == self.i_command.p.blocks - 1)),
            queue.r_en.eq(step & row_ends),
            self.i_command.ready.eq(step & head.end),
            read.addr.eq(block), read.en.eq(step),
        ]
        with m.If(step):
            m.d.sync += [block.eq(Mux(row_ends, 0, block + 1)), row_starts.eq(row_ends)]

        place = data.StructLayout({"row": entry, "starts": 1, "ends": 1})
        trits = Signal.like(unpacker.o.payload, reset_less=True)
        here = Signal(place, reset_less=True)
        valid = Signal()
        with m.If(advance):
            m.d.sync += [
                valid.eq(step), trits.eq(unpacker.o.payload), here.row.eq(head),
                here.starts.eq(row_starts), here.ends.eq(row_ends),
            ]
        m.d.comb += [
            dot.i.p.w.eq(trits), dot.i.p.x.eq(read.data), dot.i.valid.eq(valid),
            dot.o.ready.eq(~self.o.valid | self.o.ready),
        ]
        here = later(m, here, config.dot.latency, "place", advance=advance)

        total = Signal(signed(config.sum_bits), reset_less=True)
        with m.If(dot.o.ready):
            m.d.sync += self.o.valid.eq(dot.o.valid & here.ends)
            with m.If(dot.o.valid):
                m.d.sync += [
                    total.eq(Mux(here.starts, 0, total) + dot.o.payload),
                    self.o.p.index.eq(here.row.index), self.o.p.end.eq(here.row.end),
                ]
        m.d.comb += self.o.p.sum.eq(total)

        return m
