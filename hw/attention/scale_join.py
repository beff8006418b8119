# SPDX-License-Identifier: Apache-2.0
"""Between attention and a cache of two read ports: value rows' scales beside those of the keys."""

from amaranth import *
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.attention_config import AttentionConfig
from hw.attention.attention import read_fields
from hw.attention.score import KV_SCALE_BITS, key_layout
from hw.attention.weighted_sum import value_layout

__all__ = ["ScaleJoin", "word_layout"]

ORDERS = 4
"""Reads of values that may be under way."""


def word_layout(config):
    """One word of either port of the cache."""
    return data.StructLayout({
        "codes": data.ArrayLayout(unsigned(config.bos_bits), config.lanes),
        "scale": KV_SCALE_BITS, "bos": 1, "last_word": 1, "last": 1,
    })


class ScaleJoin(wiring.Component):
    """Reads value rows a first time beside the keys, for nothing but their scales.

    A read of keys becomes one of keys and one of values, whose words are joined; a read of values
    stays one.  So values take their port twice: N passes take it for ``2 N`` times a pass's words.
    Reads of keys go first as long as no more than ``config.banks`` passes wait for their values,
    which is as many as attention has room for; it cannot be held up for good.

    Words pass combinationally: each output's ``valid`` depends on both inputs'.

    Members
    -------
    i_key_read, i_value_read : :py:`In(stream.Signature(StructLayout({"slot", "stream"})))`
        What attention asks for: each pass's keys no later than its values.
    o_key_read, o_value_read : Out
        What the cache is asked for: of a pass's scales first, then of its keys.
    i_key, i_value : :py:`In(stream.Signature(word_layout(config)))`
        Words of the cache.
    o_key, o_value : Out
        Words for attention.
    """

    def __init__(self, config: AttentionConfig):
        self.config = config
        read = stream.Signature(data.StructLayout(read_fields(config)))
        word = stream.Signature(word_layout(config))
        super().__init__({
            "i_key_read": In(read), "i_value_read": In(read),
            "o_key_read": Out(read), "o_value_read": Out(read),
            "i_key": In(word), "i_value": In(word),
            "o_key": Out(stream.Signature(key_layout(config.score))),
            "o_value": Out(stream.Signature(value_layout(config.weighted_sum))),
        })

    def elaborate(self, platform):
        m = Module()
        waiting = Signal(range(self.config.banks + 1))  # passes whose values were not asked for
        m.submodules.orders = orders = fifo.SyncFIFO(width=1, depth=ORDERS)
        halved, chosen, kept = Signal(), Signal(), Signal()
        keys = self.i_key_read.valid & (waiting != self.config.banks)
        m.d.comb += chosen.eq(Mux(halved, kept, keys))
        m.d.sync += [kept.eq(chosen), halved.eq(self.o_value_read.valid & ~self.o_value_read.ready)]
        asked = Signal()  # the cache has the read of values, not yet that of keys
        offered = Mux(chosen, self.i_key_read.valid, self.i_value_read.valid & (waiting != 0))
        m.d.comb += [
            self.o_value_read.valid.eq(offered & orders.w_rdy & ~asked),
            self.o_value_read.p.eq(Mux(chosen, self.i_key_read.p, self.i_value_read.p)),
            self.i_value_read.ready.eq(self.o_value_read.ready & orders.w_rdy & ~asked & ~chosen
                                       & (waiting != 0)),
            self.o_key_read.valid.eq(asked), self.o_key_read.p.eq(self.i_key_read.p),
            self.i_key_read.ready.eq(asked & self.o_key_read.ready),
            orders.w_data.eq(chosen),
            orders.w_en.eq(self.o_value_read.valid & self.o_value_read.ready),
        ]
        with m.If(orders.w_en):
            m.d.sync += [asked.eq(chosen), waiting.eq(Mux(chosen, waiting + 1, waiting - 1))]
        with m.If(self.i_key_read.ready):
            m.d.sync += asked.eq(0)

        joins = orders.r_rdy & orders.r_data
        plain = orders.r_rdy & ~orders.r_data
        key, value = self.i_key, self.i_value
        m.d.comb += [
            self.o_key.valid.eq(joins & key.valid & value.valid),
            key.ready.eq(joins & value.valid & self.o_key.ready),
            self.o_value.valid.eq(plain & value.valid),
            value.ready.eq(Mux(joins, key.valid & self.o_key.ready, plain & self.o_value.ready)),
            self.o_key.p.value_scale.eq(value.p.scale),
            orders.r_en.eq(value.valid & value.ready & value.p.last_word & value.p.last),
            *(getattr(self.o_key.p, name).eq(getattr(key.p, name))
              for name in ("codes", "scale", "bos", "last_word", "last")),
            *(getattr(self.o_value.p, name).eq(getattr(value.p, name))
              for name in ("codes", "bos", "last_word", "last")),
        ]
        return m
