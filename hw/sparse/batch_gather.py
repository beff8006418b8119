# SPDX-License-Identifier: Apache-2.0
"""Row gather for several vectors: a row is fetched once for all tokens that want it."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.batch_config import BatchGatherConfig
from hw.delay import later
from hw.mac.ternary_dot import TernaryDot
from hw.mac.trit_unpacker import TritUnpacker
from hw.sparse.batch_product import lowest

__all__ = ["BatchGather", "batch_row_layout", "batch_sum_layout"]


def batch_row_layout(config: BatchGatherConfig):
    """Payload of ``i``: a row, which tokens want it; or the end marker that follows the last."""
    return data.StructLayout({"index": range(config.max_rows), "tokens": config.batch, "end": 1})


def batch_sum_layout(config: BatchGatherConfig):
    """Payload of ``o``: a row's sum for one token, or the end marker."""
    return data.StructLayout({
        "index": range(config.max_rows), "token": range(max(config.batch, 2)),
        "sum": signed(config.sum_bits), "end": 1,
    })


class BatchGather(wiring.Component):
    """Sums of the rows named on ``i``, for the tokens named with each.

    As :class:`hw.sparse.row_gather.RowGather`, with `tokens` vectors.  A row is requested if any
    token wants it, and each of its beats stays while it is multiplied with those tokens' elements,
    one token a cycle: beats are those of the union, cycles those of the tokens one after another.
    A row that no token wants costs its cycle on ``i``.  Sums of a row come token by token, the end
    marker after the last.
    :mod:`golden_model.sparse.batch_gather` gives the cycle of every transfer.

    The pipeline stalls while ``o`` holds a sum that is not accepted.  ``i.ready`` depends on
    ``i.payload`` and ``o_request.ready``.

    Members
    -------
    i_vector : :py:`In(stream.Signature(ArrayLayout(signed(config.digit_bits), config.width)))`
        The vectors, ``blocks`` beats of each in turn, the last one filled up with zeros.  Always
        ready: the parent loads them after the end marker of those before has left ``o``, while
        `i_command` offers their blocks, and names rows when they are complete.
    i_command : :py:`In(stream.Signature({"blocks": ..., "tokens": ...}))`
        ``ceil(K / width)`` and the number of vectors, each at least 1.  Offered from the first beat
        of vectors on, accepted with the end marker.
    i : :py:`In(stream.Signature(batch_row_layout(config)))`
        Rows in any order, with a bit for each token that wants it, then a beat with `end` set.
    o_request : :py:`Out(stream.Signature(range(config.max_rows)))`
        Rows to fetch; at least ``config.in_flight`` are requested ahead of their weights.
    i_weights : :py:`In(stream.Signature(config.unpacker.packed_bits))`
        Packed rows in the order of the requests, ``blocks`` beats each.
    o : :py:`Out(stream.Signature(batch_sum_layout(config)))`
        Sums, which cannot overflow; what comes with `end` set means nothing.
    """

    def __init__(self, config: BatchGatherConfig):
        self.config = config
        super().__init__({
            "i_vector": In(stream.Signature(data.ArrayLayout(signed(config.digit_bits),
                                                             config.width))),
            "i_command": In(stream.Signature(data.StructLayout({
                "blocks": range(config.max_blocks + 1), "tokens": range(config.batch + 1),
            }))),
            "i": In(stream.Signature(batch_row_layout(config))),
            # A port of no bits would be one of two in Verilog.
            "o_request": Out(stream.Signature(range(max(config.max_rows, 2)))),
            "i_weights": In(stream.Signature(config.unpacker.packed_bits)),
            "o": Out(stream.Signature(batch_sum_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.unpacker = unpacker = TritUnpacker(config.unpacker)
        wiring.connect(m, wiring.flipped(self.i_weights), unpacker.i)

        # Rows under way.  The end marker takes its turn among them, without weights.
        entry = batch_row_layout(config)
        m.submodules.queue = queue = fifo.SyncFIFO(width=entry.size, depth=config.in_flight)
        head, wanted = data.View(entry, queue.r_data), self.i.p.tokens.any()
        m.d.comb += [
            queue.w_data.eq(self.i.payload),
            queue.w_en.eq(self.i.valid & self.i.ready & (self.i.p.end | wanted)),
            self.o_request.payload.eq(self.i.p.index),
            self.o_request.valid.eq(self.i.valid & ~self.i.p.end & wanted & queue.w_rdy),
            self.i.ready.eq(Mux(self.i.p.end, queue.w_rdy,
                                ~wanted | queue.w_rdy & self.o_request.ready)),
        ]

        place = data.StructLayout({"token": range(max(config.batch, 2)),
                                   "block": range(config.max_blocks)})
        m.submodules.vectors = cells = memory.Memory(
            shape=self.i_vector.payload.shape(),
            depth=config.max_blocks << place["token"].width, init=[])
        write, read = cells.write_port(), cells.read_port()
        loaded = Signal(place)
        m.d.comb += [
            self.i_vector.ready.eq(1),
            write.en.eq(self.i_vector.valid), write.addr.eq(loaded),
            write.data.eq(self.i_vector.payload),
        ]
        with m.If(write.en):
            m.d.sync += loaded.block.eq(loaded.block + 1)
            with m.If(loaded.block == self.i_command.p.blocks - 1):
                m.d.sync += [loaded.block.eq(0), loaded.token.eq(loaded.token + 1)]
                with m.If(loaded.token == self.i_command.p.tokens - 1):
                    m.d.sync += loaded.token.eq(0)

        # One beat and token a cycle goes to the dot product; where it belongs travels beside it.
        m.submodules.dot = dot = TernaryDot(config.dot)
        advance = dot.i.ready  # of the whole pipeline up to the dot product's sums
        here = Signal(place)
        block = Signal(range(config.max_blocks))
        done, rest = Signal(config.batch), Signal(config.batch)
        present, step, served, row_ends = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            rest.eq(head.tokens & ~done),
            served.eq(head.end | ((rest & (rest - 1)[:config.batch]) == 0)),
            here.token.eq(lowest(rest)), here.block.eq(block),
            present.eq(queue.r_rdy & self.i_command.valid & advance),
            unpacker.o.ready.eq(present & ~head.end & served),
            step.eq(present & (head.end | unpacker.o.valid)),
            row_ends.eq(head.end | (block == self.i_command.p.blocks - 1)),
            queue.r_en.eq(step & served & row_ends),
            self.i_command.ready.eq(step & head.end),
            read.addr.eq(here), read.en.eq(step),
        ]
        with m.If(step):
            m.d.sync += done.eq(Mux(served, 0, done | rest & -rest))
            with m.If(served):
                m.d.sync += block.eq(Mux(row_ends, 0, block + 1))

        beat = data.StructLayout({"index": range(config.max_rows), "token": place["token"].shape,
                                  "end": 1, "starts": 1, "ends": 1})
        trits = Signal.like(unpacker.o.payload, reset_less=True)
        now = Signal(beat, reset_less=True)
        valid = Signal()
        with m.If(advance):
            m.d.sync += [
                valid.eq(step), trits.eq(unpacker.o.payload),
                now.index.eq(head.index), now.token.eq(here.token), now.end.eq(head.end),
                now.starts.eq(block == 0), now.ends.eq(row_ends),
            ]
        m.d.comb += [
            dot.i.p.w.eq(trits), dot.i.p.x.eq(read.data), dot.i.valid.eq(valid),
            dot.o.ready.eq(~self.o.valid | self.o.ready),
        ]
        now = later(m, now, config.dot.latency, "beat", advance=advance)

        totals = Signal(data.ArrayLayout(signed(config.sum_bits), config.batch), reset_less=True)
        total = Signal(signed(config.sum_bits))
        m.d.comb += total.eq(Mux(now.starts, 0, totals[now.token]) + dot.o.payload)
        with m.If(dot.o.ready):
            m.d.sync += self.o.valid.eq(dot.o.valid & now.ends)
            with m.If(dot.o.valid):
                m.d.sync += [totals[now.token].eq(total), self.o.p.sum.eq(total),
                             self.o.p.index.eq(now.index), self.o.p.token.eq(now.token),
                             self.o.p.end.eq(now.end)]
        return m
