# SPDX-License-Identifier: Apache-2.0
"""Top-K: exactly K of the n INT8 codes of a vector, as a mask and as a compacted stream."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.sparse_config import TopKConfig
from hw.mac.trit_unpacker import table
from hw.sparse.block_select import BlockSelect
from hw.sparse.compactor import Compactor, channels_layout
from hw.sparse.histogram_select import HistogramSelect

__all__ = ["TopK", "command_layout", "mask_layout"]


def command_layout(config: TopKConfig):
    """Payload of ``i_command``: what to do with the next vector."""
    return data.StructLayout({
        "count": range(config.max_n + 1),
        "keep": range(config.max_n + 1),
        "blocks": 1,
        "block_keep": range(config.block_size + 1),
        "drop_zeros": 1,
        "mask_only": 1,
    })


def mask_layout(config: TopKConfig):
    """Payload of ``o_mask``: bit l of beat b belongs to element ``b * lanes + l``."""
    return data.StructLayout({"keep": config.lanes, "last": 1})


def magnitude(code):
    """``abs(code)`` of a signed 8-bit code, 0..128."""
    sign = code[-1]
    return ((Value.cast(code) ^ sign.replicate(8)) + sign)[:8]


def count(bits):
    """How many of some bits are set: four to a table, so that few adders follow each other."""
    if len(bits) <= 4:
        return table(bits, len(bits).bit_length(), int.bit_count) if len(bits) else C(0, 1)
    half = len(bits) + 1 >> 1
    return count(bits[:half]) + count(bits[half:])


class TopK(wiring.Component):
    """Keep exactly K elements by magnitude; among equals the lowest index wins.

    A vector is loaded at a beat a cycle while histograms of its magnitudes are taken; the mask
    follows after ``config.latency`` cycles at a beat a cycle, whatever the codes are, but not ahead
    of the compacted elements (up to ``config.emit`` of a beat a cycle, ``config.queue`` beats of
    slack).  So all has left ``2 n / P + 64`` cycles after loading, whatever is kept, if `emit` is
    half of the lanes, and ``K + n / P + 64`` cycles after it if `emit` is one, as it is where the
    reader takes one a cycle.  With ``mask_only`` none are emitted, and nothing but ``o_mask`` holds
    the mask back.  In block mode blocks are selected one after the other while the vector is
    loaded.
    :mod:`golden_model.sparse.top_k_cycles` gives the cycle of every transfer.

    One vector is in work at a time: a command is taken after the mask of the one before.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        Elements `count`, at least 1, and how many to `keep` (more than there are keeps all).
        `blocks` selects within blocks of ``config.block_size``: `block_keep` of each whole block
        but the last, whole or not, which keeps `keep`; it is ignored if ``config.block_size`` is 0.
        `drop_zeros` leaves codes of zero out of the compacted stream, though not out of the mask.
    i : :py:`In(stream.Signature(ArrayLayout(signed(8), config.lanes)))`
        ``ceil(count / lanes)`` beats; what lies past the vector's end does not matter.
    o_mask : :py:`Out(stream.Signature(mask_layout(config)))`
        One bit an element; bits past the vector's end are 0.
    o : :py:`Out(stream.Signature(channels_layout(config.compactor)))`
        Kept elements in index order, then one beat with `end` set.
    """

    def __init__(self, config: TopKConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i": In(stream.Signature(data.ArrayLayout(signed(8), config.lanes))),
            "o_mask": Out(stream.Signature(mask_layout(config))),
            "o": Out(stream.Signature(channels_layout(config.compactor))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lanes = config.lanes
        lane_bits = lanes.bit_length() - 1

        command = Signal.like(self.i_command.payload, reset_less=True)
        last_beat = Signal(range(config.max_beats), reset_less=True)
        tail = Signal(lanes, reset_less=True)  # lanes that the last beat holds
        busy, loading = Signal(), Signal()
        m.d.comb += self.i_command.ready.eq(~busy)
        with m.If(self.i_command.valid & ~busy):
            m.d.sync += [
                command.eq(self.i_command.payload),
                last_beat.eq((self.i_command.p.count - 1) >> lane_bits),
                busy.eq(1), loading.eq(1),
            ]
            rest = self.i_command.p.count[:lane_bits] if lane_bits else C(0, 1)
            m.d.sync += tail.eq(Mux(rest == 0, -1, (1 << rest) - 1))

        def place(beat, name):
            """Return the present lanes of a beat and whether a segment and the vector end."""
            vector_ends = Signal(name=f"{name}_vector_ends")
            segment_ends = Signal(name=f"{name}_segment_ends")
            m.d.comb += [vector_ends.eq(beat == last_beat), segment_ends.eq(vector_ends)]
            if config.block_size:
                block_beats = config.block_size // lanes
                ends = beat[:block_beats.bit_length() - 1].all()
                m.d.comb += segment_ends.eq(vector_ends | (command.blocks & ends))
            return tail | (~vector_ends).replicate(lanes), segment_ends, vector_ends

        # Loading: codes go to the memory, magnitudes to the search.
        m.submodules.codes = codes = memory.Memory(shape=self.i.payload.shape(),
                                                   depth=config.max_beats, init=[])
        write = codes.write_port()
        load_beat = Signal(range(config.max_beats))
        present, segment_ends, vector_ends = place(load_beat, "load")
        m.submodules.histogram = histogram = HistogramSelect(config.selector)
        selectors = [(histogram, C(1, 1), command.keep)]
        if config.block_size:
            m.submodules.block = block = BlockSelect(config.block_selector)
            keep = Mux(vector_ends, command.keep, command.block_keep)
            selectors = [(histogram, ~command.blocks, command.keep),
                         (block, command.blocks, keep)]
        for selector, chosen, keep in selectors:
            m.d.comb += [
                *(to.eq(magnitude(code))
                  for to, code in zip(selector.i.p.magnitudes, self.i.payload)),
                selector.i.p.present.eq(present),
                selector.i.p.keep.eq(keep),
                selector.i.p.last.eq(segment_ends),
                selector.i.valid.eq(self.i.valid & loading & chosen),
            ]
            with m.If(chosen):
                m.d.comb += self.i.ready.eq(selector.i.ready & loading)
        m.d.comb += [
            write.addr.eq(load_beat),
            write.data.eq(self.i.payload),
            write.en.eq(self.i.valid & self.i.ready),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += load_beat.eq(load_beat + 1)
            with m.If(vector_ends):
                m.d.sync += [loading.eq(0), load_beat.eq(0)]

        # Output: one segment's beats are compared with its threshold.
        read = codes.read_port()
        beat = Signal(range(config.max_beats))  # the beat that the memory holds on its output
        active, fresh = Signal(), Signal()
        threshold = Signal.like(histogram.o.p.threshold, reset_less=True)
        spare = Signal.like(histogram.o.p.spare, reset_less=True)
        present, segment_ends, vector_ends = place(beat, "output")
        release, start = Signal(), Signal()
        take = ~active | (release & segment_ends)
        for selector, chosen, _ in selectors:
            m.d.comb += selector.o.ready.eq(take)
            with m.If(chosen & selector.o.valid & take):
                m.d.comb += start.eq(1)
                m.d.sync += [threshold.eq(selector.o.p.threshold), spare.eq(selector.o.p.spare)]
        following = Mux(fresh, beat, beat + 1)  # `fresh`: no beat of this vector was read yet
        m.d.comb += [read.addr.eq(following), read.en.eq(start | (release & ~segment_ends))]
        with m.If(~busy):
            m.d.sync += [fresh.eq(1), beat.eq(0)]
        with m.If(read.en):
            m.d.sync += [beat.eq(following), fresh.eq(0)]
        with m.If(take):
            m.d.sync += active.eq(start)
        with m.If(release & vector_ends):
            m.d.sync += busy.eq(0)

        keep, emit = self.compare(m, read.data, present, threshold, spare, command.drop_zeros,
                                  release & ~segment_ends)

        # Both streams take the beat, in whichever order.
        m.submodules.compactor = compactor = Compactor(config.compactor)
        mask_done, emit_done = Signal(), Signal()
        mask_taken = mask_done | self.o_mask.ready
        emit_taken = emit_done | command.mask_only | compactor.i.ready
        m.d.comb += [
            self.o_mask.valid.eq(active & ~mask_done),
            self.o_mask.p.keep.eq(keep),
            self.o_mask.p.last.eq(vector_ends),
            compactor.i.valid.eq(active & ~emit_done & ~command.mask_only),
            compactor.i.p.codes.eq(read.data),
            compactor.i.p.keep.eq(emit),
            compactor.i.p.last.eq(vector_ends),
            release.eq(active & mask_taken & emit_taken),
        ]
        m.d.sync += [mask_done.eq(active & mask_taken & ~release),
                     emit_done.eq(active & emit_taken & ~release)]
        wiring.connect(m, compactor.o, wiring.flipped(self.o))

        return m

    @staticmethod
    def compare(m, codes, present, threshold, spare, drop_zeros, advance):
        """Return the kept lanes and those to emit; `spare` counts down as ties are kept."""
        lanes = len(present)
        left = Signal(range(lanes + 1))  # ties that may still be kept, as far as lanes can tell
        m.d.comb += left.eq(Mux(spare < 0, 0, Mux(spare >= lanes, lanes, spare + 1)))
        above, ties = Signal(lanes), Signal(lanes)
        for lane, code in enumerate(codes):
            size = Signal(8, name=f"size_{lane}")
            m.d.comb += [size.eq(magnitude(code)),
                         ties[lane].eq(present[lane] & (size == threshold)),
                         above[lane].eq(present[lane] & (size > threshold))]
        # Ties ahead of a lane are all kept as long as there are fewer of them than may be.
        tied = Signal(lanes)
        m.d.comb += tied.eq(Cat(tie & (count(ties[:lane]) < left)
                                for lane, tie in enumerate(ties)))
        rest = Signal(signed(len(spare) + 1))
        m.d.comb += rest.eq(spare - count(ties))
        with m.If(advance & (spare >= 0)):
            m.d.sync += spare.eq(Mux(rest < 0, -1, rest))
        # An element that is zero is kept only if the threshold is zero, and then as a tie.
        dropped = drop_zeros & (threshold == 0)
        return above | tied, above | (tied & ~dropped.replicate(lanes))
