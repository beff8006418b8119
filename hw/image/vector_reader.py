# SPDX-License-Identifier: Apache-2.0
"""A vector of the image, fetched once and given several times."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.image_config import VectorReaderConfig
from hw.image.port import beat_stream, burst_layout, burst_stream
from hw.image.splitter import Splitter

__all__ = ["VectorReader"]


class VectorReader(wiring.Component):
    """Gains of a norm or rotations of a position: in block RAM, so that nothing holds up the port.

    A load is accepted with its request, and every beat is taken as it comes.  Words are given as
    soon as they are there, a word a cycle, the first ``config.latency`` cycles after its beat; the
    vector stays until the next load, which must not come during a read.

    ``i_load.ready`` depends combinationally on ``o_request.ready``.

    Members
    -------
    i_load : :py:`In(stream.Signature(StructLayout({"burst": burst_layout(port), "words": ...})))`
        Where the vector lies, and its words, at least 1.  With ``config.batch`` above 1 also the
        ``token`` whose vector it is; all are equally long.
    i_read : :py:`In(stream.Signature(StructLayout({"passes": ...})))`
        How often to give the vector (of a ``token``), at least once.  Offered from the cycle after
        the load's transfer on, accepted with the last word.
    o_request, i_beats
        A reader of the image.
    o : :py:`Out(stream.Signature(config.word_bits))`
    """

    def __init__(self, config: VectorReaderConfig):
        self.config = config
        token = {"token": range(config.batch)} if config.batch > 1 else {}
        super().__init__({
            "i_load": In(stream.Signature(data.StructLayout({
                "burst": burst_layout(config.port), "words": range(config.max_words + 1), **token,
            }))),
            "i_read": In(stream.Signature(data.StructLayout({
                "passes": range(config.max_passes + 1), **token,
            }))),
            "o_request": Out(burst_stream(config.port)),
            "i_beats": In(beat_stream(config.port)),
            "o": Out(stream.Signature(config.word_bits)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.splitter = splitter = Splitter(config.splitter)
        m.submodules.memory = words = memory.Memory(shape=config.word_bits, depth=config.depth,
                                                    init=[])
        write, read = words.write_port(), words.read_port()
        count, loaded = (Signal.like(self.i_load.p.words, name=name)
                         for name in ("count", "loaded"))
        loading = Signal()
        token = None   # whose vector is loaded
        if config.batch > 1:
            token = Signal.like(self.i_load.p.token)
            with m.If(self.i_load.valid & self.i_load.ready):
                m.d.sync += token.eq(self.i_load.p.token)
        wiring.connect(m, wiring.flipped(self.i_beats), splitter.i)
        m.d.comb += [
            self.o_request.valid.eq(self.i_load.valid & ~loading),
            self.o_request.p.eq(self.i_load.p.burst),
            self.i_load.ready.eq(self.o_request.ready & ~loading),
            splitter.i_command.valid.eq(loading), splitter.i_command.p.words.eq(count),
            splitter.o.ready.eq(1),
            write.en.eq(splitter.o.valid), write.addr.eq(self.place(loaded, token)),
            write.data.eq(splitter.o.p.word),
        ]
        with m.If(self.i_load.valid & self.i_load.ready):
            m.d.sync += [loading.eq(1), loaded.eq(0), count.eq(self.i_load.p.words)]
        with m.If(write.en):
            m.d.sync += loaded.eq(loaded + 1)
        with m.If(splitter.i_command.ready):
            m.d.sync += loading.eq(0)

        place, given = Signal.like(count), Signal.like(self.i_read.p.passes)
        asked, final = Signal(), Signal()
        step, ends = Signal(), Signal()
        m.d.comb += [
            ends.eq(place + 1 == count),
            step.eq(self.i_read.valid & ~asked & (place != loaded)
                    & (~self.o.valid | self.o.ready)),
            read.en.eq(step), read.addr.eq(self.place(
                place, self.i_read.p.token if config.batch > 1 else None)),
            self.o.payload.eq(read.data),
            self.i_read.ready.eq(self.o.valid & self.o.ready & final),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step):
            last = ends & (given + 1 == self.i_read.p.passes)
            m.d.sync += [self.o.valid.eq(1), place.eq(Mux(ends, 0, place + 1)),
                         given.eq(Mux(last, 0, given + ends)), asked.eq(last), final.eq(last)]
        with m.If(self.i_read.ready):
            m.d.sync += [asked.eq(0), final.eq(0)]
        return m

    def place(self, word, token):
        """Return the address of a word of one of the vectors."""
        return word if token is None else Cat(word, token)
