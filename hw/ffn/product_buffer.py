# SPDX-License-Identifier: Apache-2.0
"""Single words with their index in, the whole vector out in beats, twice."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.ffn_config import ProductBufferConfig

__all__ = ["ProductBuffer", "product_layout", "words_layout"]


def product_layout(config: ProductBufferConfig):
    """Payload of ``i``: one word, or the end marker that follows the last."""
    return data.StructLayout({"index": range(config.max_n), "word": signed(WORD_BITS), "end": 1})


def words_layout(config: ProductBufferConfig):
    """Payload of ``o``: a beat of words, and whether it ends a pass."""
    return data.StructLayout({
        "words": data.ArrayLayout(signed(WORD_BITS), config.lanes), "last": 1,
    })


class ProductBuffer(wiring.Component):
    """A vector from the words that are not zero, streamed in beats of P as they are complete.

    Words come in the order of their index.  A word is taken each cycle, except that each beat
    without a word takes a cycle too.  The first pass over the vector leaves as its beats are
    written, ``config.latency`` cycles after whatever completes each; the second follows at a beat a
    cycle.

    One vector at a time, its first word in the second cycle of the command at the earliest.
    ``i.ready`` depends on ``i.payload`` only, ``o.valid`` is registered.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"n"})))`
        Words of the vector, at least 1: offered from its first word on, accepted with the last beat
        of the second pass.
    i : :py:`In(stream.Signature(product_layout(config)))`
        Words of rising index below `n`, then a beat with `end` set.
    o : :py:`Out(stream.Signature(words_layout(config)))`
        ``ceil(n / P)`` beats, twice; `last` ends each pass.  Words that did not come are zero.
    """

    def __init__(self, config: ProductBufferConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({"n": range(config.max_n + 1)}))),
            "i": In(stream.Signature(product_layout(config))),
            "o": Out(stream.Signature(words_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lane_bits = config.lanes.bit_length() - 1
        m.submodules.words = cells = memory.Memory(shape=self.o.p.words.shape(),
                                                   depth=config.max_beats, init=[])
        write, read = cells.write_port(), cells.read_port()
        # Known from the command's second cycle on: a word's ready does not wait for a subtraction.
        known, last_beat = Signal(), Signal(range(config.max_beats), reset_less=True)
        m.d.sync += [
            known.eq(self.i_command.valid & ~self.i_command.ready),
            last_beat.eq((self.i_command.p.n - 1) >> lane_bits),
        ]

        beat = Signal(range(config.max_beats))  # the beat that is being filled
        following = Signal(range(config.max_beats + 1), init=1)
        complete = Signal()
        partial = Signal.like(write.data)
        lane, item_beat = self.i.p.index[:lane_bits], self.i.p.index[lane_bits:]
        ends, here, next_one = Signal(), Signal(), Signal()
        m.d.comb += [
            ends.eq(beat == last_beat),
            here.eq(~self.i.p.end & (item_beat == beat)),
            next_one.eq(~self.i.p.end & (item_beat == following)),
            write.addr.eq(beat), write.data.eq(partial),
        ]
        with m.If(known & ~complete):
            m.d.comb += [
                self.i.ready.eq(here | next_one | (self.i.p.end & ends)),
                write.en.eq(self.i.valid & ~here),
            ]
        with m.If(write.en):
            m.d.sync += [beat.eq(Mux(ends, 0, beat + 1)), complete.eq(ends), partial.eq(0),
                         following.eq(Mux(ends, 1, following + 1))]
        with m.If(self.i.valid & self.i.ready & ~self.i.p.end):
            for n in range(config.lanes):
                with m.If((lane == n) if lane_bits else C(1, 1)):
                    m.d.sync += partial[n].eq(self.i.p.word)

        # Reading: behind the writing in the first pass.
        place = Signal.like(beat)
        second, read_all, final = Signal(), Signal(), Signal()
        step, pass_ends = Signal(), Signal()
        m.d.comb += [
            pass_ends.eq(place == last_beat),
            step.eq((complete | (place != beat)) & ~read_all & (~self.o.valid | self.o.ready)),
            read.en.eq(step), read.addr.eq(place),
            self.o.p.words.eq(read.data),
            self.i_command.ready.eq(final & self.o.valid & self.o.ready),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step):
            m.d.sync += [
                self.o.valid.eq(1), self.o.p.last.eq(pass_ends),
                place.eq(Mux(pass_ends, 0, place + 1)),
                second.eq(second ^ pass_ends),
                read_all.eq(second & pass_ends), final.eq(second & pass_ends),
            ]
        with m.If(self.i_command.ready):
            m.d.sync += [complete.eq(0), read_all.eq(0), final.eq(0)]
        return m
