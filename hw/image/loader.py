# SPDX-License-Identifier: Apache-2.0
"""Beats of an image on the chip from words that the host writes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.system_config import ImageLoaderConfig

__all__ = ["ImageLoader"]


class ImageLoader(wiring.Component):
    """Each ``config.words`` words become a beat, the first word in its lowest bits.

    Beats go to one address after the other; what of the last word lies beyond the beat is dropped.
    An address begins a beat anew.  A beat is offered in the cycle after its last word, and taken at
    once: ``o`` is never stalled.

    Members
    -------
    open : :py:`In(1)`
        Both inputs are ready while this is high.
    i_address : :py:`In(stream.Signature(32))`
        The beat that is written next.
    i_data : :py:`In(stream.Signature(32))`
    o : :py:`Out(stream.Signature(StructLayout({"address", "beat"}), always_ready=True))`
    """

    def __init__(self, config: ImageLoaderConfig):
        self.config = config
        super().__init__({
            "open": In(1),
            "i_address": In(stream.Signature(32)),
            "i_data": In(stream.Signature(32)),
            "o": Out(stream.Signature(data.StructLayout({
                "address": range(max(config.memory.depth, 2)),
                "beat": config.memory.port.beat_bits,
            }), always_ready=True)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        beat = Signal(data.ArrayLayout(32, config.words), reset_less=True)
        word = Signal(range(config.words))
        address = Signal(32)
        m.d.comb += [self.i_address.ready.eq(self.open), self.i_data.ready.eq(self.open),
                     self.o.p.beat.eq(Value.cast(beat))]
        m.d.sync += self.o.valid.eq(0)
        with m.If(self.i_data.valid & self.i_data.ready):
            m.d.sync += [beat[word].eq(self.i_data.payload), word.eq(word + 1)]
            with m.If(word == config.words - 1):
                m.d.sync += [word.eq(0), address.eq(address + 1), self.o.p.address.eq(address),
                             self.o.valid.eq(address < config.memory.depth)]
        with m.If(self.i_address.valid & self.i_address.ready):
            m.d.sync += [address.eq(self.i_address.payload), word.eq(0)]
        return m
