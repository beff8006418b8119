# SPDX-License-Identifier: Apache-2.0
"""Vectors of several tokens that share weights, kept until each token's turn."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.batch_config import TokenStoreConfig

__all__ = ["TokenStore"]


class TokenStore(wiring.Component):
    """Takes words at any time, gives those of one token whenever it is asked.

    With ``config.interleaved`` a word of each of the `tokens` comes in turn, and reading may follow
    on the heels of writing; else words are those of `token`, and it is read when all have come.
    A word a cycle each way, the first one the cycle after the command's offer.

    Members
    -------
    i : :py:`In(stream.Signature(config.bits))`
        Always taken.
    restart : :py:`In(1)`
        The next word is a vector's first.
    token : :py:`In(range(config.batch))`
        Whose words come, and who is read.
    tokens : :py:`In(range(config.batch + 1))`
        How many take turns.
    i_read : :py:`In(stream.Signature(StructLayout({"words", "passes"})))`
        How much to give of the `token`, and how often, each at least 1.  Accepted with the last
        word.
    o : :py:`Out(stream.Signature(StructLayout({"word", "last"})))`
        `last` at the end of each pass.
    """

    def __init__(self, config: TokenStoreConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(config.bits)), "restart": In(1),
            "token": In(range(max(config.batch, 2))), "tokens": In(range(config.batch + 1)),
            "i_read": In(stream.Signature(data.StructLayout({
                "words": range(config.max_words + 1), "passes": 2,
            }))),
            "o": Out(stream.Signature(data.StructLayout({"word": config.bits, "last": 1}))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        index = range(max(config.max_words, 2))
        place = data.StructLayout({"index": index, "token": self.token.shape()})
        m.submodules.memory = cells = memory.Memory(shape=config.bits, depth=config.depth, init=[])
        write, read = cells.write_port(), cells.read_port()
        count, turn = Signal(range(config.max_words + 1)), Signal.like(self.token)
        put, get = Signal(place), Signal(place)
        ends = (turn + 1 == self.tokens) if config.interleaved else C(1, 1)
        m.d.comb += [
            self.i.ready.eq(1), write.en.eq(self.i.valid), write.data.eq(self.i.payload),
            put.index.eq(count), put.token.eq(turn if config.interleaved else self.token),
            write.addr.eq(put), read.addr.eq(get),
        ]
        with m.If(self.i.valid):
            m.d.sync += turn.eq(turn + 1)
            with m.If(ends):
                m.d.sync += [turn.eq(0), count.eq(count + 1)]
        with m.If(self.restart):
            m.d.sync += [turn.eq(0), count.eq(0)]

        word, given = Signal(range(config.max_words + 1)), Signal.like(self.i_read.p.passes)
        asked, last, final = Signal(), Signal(), Signal()
        step, there = Signal(), Signal()
        last_word, last_pass = Signal(), Signal()
        m.d.comb += [
            there.eq((word < count) | ((word == count) & (self.token < turn))
                     if config.interleaved else 1),
            get.index.eq(word), get.token.eq(self.token), read.en.eq(step),
            step.eq(self.i_read.valid & ~asked & there & (~self.o.valid | self.o.ready)),
            last_word.eq(word + 1 == self.i_read.p.words),
            last_pass.eq(given + 1 == self.i_read.p.passes),
            self.o.p.word.eq(read.data), self.o.p.last.eq(last),
            self.i_read.ready.eq(self.o.valid & self.o.ready & final),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step):
            m.d.sync += [self.o.valid.eq(1), word.eq(word + 1), last.eq(last_word),
                         final.eq(last_word & last_pass)]
            with m.If(last_word):
                m.d.sync += [word.eq(0), given.eq(Mux(last_pass, 0, given + 1)),
                             asked.eq(last_pass)]
        with m.If(self.i_read.ready):
            m.d.sync += [asked.eq(0), final.eq(0)]
        return m
