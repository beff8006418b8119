# SPDX-License-Identifier: Apache-2.0
"""Rows from 32-bit words, for restoring a sequence."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.kv_config import BEAT_BITS, KvCacheConfig
from hw.kv.layouts import row_word_layout

__all__ = ["Deserialiser"]


class Deserialiser(wiring.Component):
    """The inverse of :class:`~hw.kv.serialiser.Serialiser`, told how many words a row has.

    A word is offered the cycle after its last beat was accepted, and no beat is accepted while it
    waits.

    Members
    -------
    words : In
        Memory words of a row, at least 1.
    i : :py:`In(stream.Signature(32))`
    o : :py:`Out(stream.Signature(row_word_layout(config)))`
        `scale` is valid on the row's last word.
    """

    def __init__(self, config: KvCacheConfig):
        self.config = config
        super().__init__({"words": In(range(config.row_words + 1)),
                          "i": In(stream.Signature(BEAT_BITS)),
                          "o": Out(stream.Signature(row_word_layout(config)))})

    def elaborate(self, platform):
        m = Module()
        beats = self.config.row_beats
        beat = Signal(range(beats + 1))
        word = Signal(range(self.config.row_words))
        parts = Signal(beats * BEAT_BITS, reset_less=True)
        last_word = Signal()
        m.d.comb += [
            last_word.eq(word + 1 == self.words),
            self.i.ready.eq(~self.o.valid),
            self.o.p.codes.eq(parts[:4 * self.config.lanes]),
            self.o.p.last.eq(last_word),
        ]
        with m.If(self.i.valid & self.i.ready):
            ends = Mux(last_word, beat == beats, beat == beats - 1)
            m.d.sync += [beat.eq(Mux(ends, 0, beat + 1)), self.o.valid.eq(ends)]
            with m.If(beat == beats):
                m.d.sync += self.o.p.scale.eq(self.i.payload)
            with m.Else():
                m.d.sync += parts.word_select(beat, BEAT_BITS).eq(self.i.payload)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), word.eq(Mux(last_word, 0, word + 1))]
        return m
