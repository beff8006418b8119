# SPDX-License-Identifier: Apache-2.0
"""Words of a vector or a table from beats of the image."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.image_config import SplitterConfig

__all__ = ["Splitter"]


class Splitter(wiring.Component):
    """Cut beats into ``config.per_beat`` words each, the lowest bits first: a word a cycle.

    A vector ends with its command's last word; the rest of that beat is dropped.  The first word of
    a beat comes ``config.latency`` cycles after the beat, and beats follow without a gap.
    ``i.ready`` depends combinationally on ``o.ready``.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"words": ...})))`
        Words of the next vector, at least 1.  Accepted with the last one.
    i : :py:`In(stream.Signature(config.beat_bits))`
    o : :py:`Out(stream.Signature(StructLayout({"word": config.word_bits, "last": 1})))`
    """

    def __init__(self, config: SplitterConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "words": range(config.max_words + 1),
            }))),
            "i": In(stream.Signature(config.beat_bits)),
            "o": Out(stream.Signature(data.StructLayout({"word": config.word_bits, "last": 1}))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        beat = Signal(data.ArrayLayout(config.word_bits, config.per_beat), reset_less=True)
        held = Signal(range(config.per_beat + 1))   # words of the beat that are left
        number = Signal(range(config.max_words + 1), init=1)   # of the word, from 1
        m.d.comb += [
            self.o.valid.eq((held != 0) & self.i_command.valid),
            self.o.p.word.eq(beat[0]),
            self.o.p.last.eq(number == self.i_command.p.words),
            self.i_command.ready.eq(self.o.valid & self.o.ready & self.o.p.last),
        ]
        accepted = self.o.valid & self.o.ready
        done = accepted & ((held == 1) | self.o.p.last)
        m.d.comb += self.i.ready.eq((held == 0) | done)
        with m.If(accepted):
            m.d.sync += [held.eq(held - 1), number.eq(Mux(self.o.p.last, 1, number + 1))]
            m.d.sync += [low.eq(high) for low, high in zip(beat, list(beat)[1:])]
        with m.If(done):
            m.d.sync += held.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [beat.eq(self.i.payload), held.eq(config.per_beat)]
        return m
