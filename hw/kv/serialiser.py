# SPDX-License-Identifier: Apache-2.0
"""Rows as 32-bit words, for saving a sequence."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.kv_config import BEAT_BITS, KvCacheConfig
from hw.kv.layouts import word_layout

__all__ = ["Serialiser", "send"]


class Serialiser(wiring.Component):
    """Each memory word as ``config.row_beats`` beats, and behind a row's last one its scale.

    A beat holds eight codes of four bits, the first in the lowest bits; spare bits are zero.
    The word on ``i`` is accepted with its last beat, so ``i.ready`` depends on ``o.ready``; a beat
    is offered in the cycle in which its word is.

    Members
    -------
    i : :py:`In(stream.Signature(word_layout(config)))`
    o : :py:`Out(stream.Signature(32))`
    """

    def __init__(self, config: KvCacheConfig):
        self.config = config
        super().__init__({"i": In(stream.Signature(word_layout(config))),
                          "o": Out(stream.Signature(BEAT_BITS))})

    def elaborate(self, platform):
        m = Module()
        beats = self.config.row_beats
        beat = Signal(range(beats + 1))
        last = Signal()
        m.d.comb += [
            last.eq(Mux(self.i.p.last_word, beat == beats, beat == beats - 1)),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(self.o.ready & last),
            self.o.payload.eq(Mux(
                beat == beats, self.i.p.scale,
                self.i.p.codes.as_value().word_select(beat, BEAT_BITS))),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        return m


def send(m, keys, values, out, value):
    """Send words of keys; or, word by word, codes of values and scales that keys bring."""
    both = keys.o.valid & (values.o.valid | ~value)
    m.d.comb += [
        out.valid.eq(both), keys.o.ready.eq(out.ready & both),
        values.o.ready.eq(out.ready & both & value),
        out.p.codes.eq(Mux(value, values.o.p.codes, keys.o.p.codes)),
        out.p.scale.eq(Mux(value, keys.o.p.value_scale, keys.o.p.scale)),
        *(out.p[name].eq(keys.o.p[name]) for name in ("bos", "last_word", "last")),
    ]
