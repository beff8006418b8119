# SPDX-License-Identifier: Apache-2.0
"""Beats of codes in, wider words of codes out."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.ffn_config import CodePackerConfig

__all__ = ["CodePacker"]


class CodePacker(wiring.Component):
    """Words of `width` codes from beats of `lanes`, the vector's last word filled up with zeros.

    A beat a cycle as long as ``o`` is ready; a word is on ``o`` in the cycle after its last beat.
    ``i.ready`` depends combinationally on ``o.ready``.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"codes": signed(8)[lanes], "last": 1})))`
        As a quantiser emits them; codes must fit ``config.bits`` bits.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(bits), width)))`
    """

    def __init__(self, config: CodePackerConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "codes": data.ArrayLayout(signed(8), config.lanes), "last": 1,
            }))),
            "o": Out(stream.Signature(data.ArrayLayout(signed(config.bits), config.width))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        beat = Signal(range(config.beats))
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            ends = self.i.p.last | (beat == config.beats - 1)
            m.d.sync += [beat.eq(Mux(ends, 0, beat + 1)), self.o.valid.eq(ends)]
            for n in range(config.beats):
                # What lies behind the vector's end was cleared by the word's first beat.
                with m.If((beat == n) | (beat == 0)):
                    for lane, code in enumerate(self.i.p.codes):
                        m.d.sync += self.o.payload[n * config.lanes + lane].eq(
                            Mux(beat == n, code[:config.bits], 0))
        return m
