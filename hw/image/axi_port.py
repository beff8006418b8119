# SPDX-License-Identifier: Apache-2.0
"""Beats of an image from words of an AXI4 bus."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.system_config import AxiPortConfig
from hw.bus.axi_read import beat_layout, fetch_layout
from hw.image.port import beat_stream, burst_stream

__all__ = ["AxiPort"]


class AxiPort(wiring.Component):
    """Turn bursts of beats into commands of a read master, and what it gives into beats.

    In memory a beat takes ``config.stride_bits``: its bytes, filled up to a power of two of them.
    So it is a word of the bus, or several, or a word holds several beats, of which a burst may use
    some only.  Nothing is delayed but by the words that a beat takes: a request passes in its
    cycle, a beat with its last word.  Every ``ready`` is combinational.

    Members
    -------
    base : :py:`In(config.axi.address_bits)`
        Byte address of beat 0, a multiple of the word and of the beat; it stands still.
    i_request : :py:`In(burst_stream(config.port))`
    o : :py:`Out(beat_stream(config.port))`
    o_fetch, i_word
        An :class:`hw.bus.axi_read.AxiRead`.
    """

    def __init__(self, config: AxiPortConfig):
        self.config = config
        super().__init__({
            "base": In(config.axi.address_bits),
            "i_request": In(burst_stream(config.port)),
            "o": Out(beat_stream(config.port)),
            "o_fetch": Out(stream.Signature(fetch_layout(config.axi))),
            "i_word": In(stream.Signature(beat_layout(config.axi))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        asked, fetch = self.i_request, self.o_fetch
        m.d.comb += fetch.p.address.eq(self.base + (asked.p.address << config.shift))
        if config.per_word == 1:
            m.d.comb += [fetch.p.beats.eq(asked.p.beats * config.words),
                         fetch.valid.eq(asked.valid), asked.ready.eq(fetch.ready)]
            self.gather(m)
        else:
            self.cut(m)
        return m

    def gather(self, m):
        """One beat of `words` words."""
        config = self.config
        held = Signal(data.ArrayLayout(config.axi.data_bits, config.words - 1), reset_less=True)
        count = Signal(range(config.words))
        last = count == config.words - 1
        m.d.comb += [
            self.o.payload.eq(Cat(held, self.i_word.p.data)),
            self.o.valid.eq(self.i_word.valid & last),
            self.i_word.ready.eq(self.o.ready | ~last),
        ]
        if config.words > 1:
            with m.If(self.i_word.valid & self.i_word.ready):
                m.d.sync += count.eq(Mux(last, 0, count + 1))
                with m.If(~last):
                    m.d.sync += held[count].eq(self.i_word.p.data)

    def cut(self, m):
        """Several beats in a word; of a burst's first and last word some may not be wanted."""
        config = self.config
        asked, fetch = self.i_request, self.o_fetch
        bits = config.per_word.bit_length() - 1
        entry = data.StructLayout({"place": bits, "beats": config.port.count_bits})
        m.submodules.queue = queue = fifo.SyncFIFO(width=entry.size, depth=config.in_flight)
        put, head = Signal(entry), data.View(entry, queue.r_data)
        m.d.comb += [
            put.place.eq(asked.p.address[:bits]), put.beats.eq(asked.p.beats),
            queue.w_data.eq(put), queue.w_en.eq(asked.valid & asked.ready),
            fetch.p.beats.eq((put.place + asked.p.beats + (config.per_word - 1)) >> bits),
            fetch.valid.eq(asked.valid & queue.w_rdy),
            asked.ready.eq(fetch.ready & queue.w_rdy),
        ]
        done = Signal(config.port.count_bits)   # beats of the burst that were given
        place = Signal(bits)
        last = done + 1 == head.beats
        m.d.comb += [
            place.eq(head.place + done),
            self.o.payload.eq(Value.cast(self.i_word.p.data).word_select(place,
                                                                         config.stride_bits)),
            self.o.valid.eq(self.i_word.valid & queue.r_rdy),
            self.i_word.ready.eq(self.o.valid & self.o.ready & (last | place.all())),
            queue.r_en.eq(self.o.valid & self.o.ready & last),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += done.eq(Mux(last, 0, done + 1))
