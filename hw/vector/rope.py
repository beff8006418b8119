# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding of integer sums: one turn of each pair, by table."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.vector_config import RopeConfig
from hw.quant.multiplier import Multiplier

__all__ = ["Rope"]


class Rope(wiring.Component):
    """Turn pairs: ``a * cos - b * sin`` and ``b * cos + a * sin``, as saturated 24-bit words.

    The exact sum of both products is rounded once, half to even, to ``extra_bits`` more fraction
    bits than the inputs have.  One beat of ``pairs`` pairs a cycle, ``config.latency`` cycles late.
    The pipeline stalls as a whole while ``o`` holds a beat that is not accepted, so ``i.ready``
    depends combinationally on ``o.ready``.  Which elements are a pair is the caller's affair; in
    the half-split form ``a`` is element i and ``b`` element i + head_dim / 2.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"a": signed(in_bits)[pairs], "b": ...,`
        :py:`"cos": signed(16)[pairs], "sin": ...})))`
    o : :py:`Out(stream.Signature(StructLayout({"a": signed(24)[pairs], "b": ...})))`
    """

    def __init__(self, config: RopeConfig):
        self.config = config
        sums = data.ArrayLayout(signed(config.in_bits), config.pairs)
        table = data.ArrayLayout(signed(config.table_bits), config.pairs)
        words = data.ArrayLayout(signed(WORD_BITS), config.pairs)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "a": sums, "b": sums, "cos": table, "sin": table}))),
            "o": Out(stream.Signature(data.StructLayout({"a": words, "b": words}))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.d.comb += self.i.ready.eq(advance := ~self.o.valid | self.o.ready)

        operands = Signal(self.i.payload.shape(), reset_less=True)
        valid = self.i.valid
        with m.If(advance):
            m.d.sync += operands.eq(self.i.payload)
            for stage in range(config.latency):
                m.d.sync += (held := Signal(name=f"valid_{stage}")).eq(valid)
                valid = held
        m.d.comb += self.o.valid.eq(valid)

        for n in range(config.pairs):
            def product(x, by, n=n):
                name = f"{x}_{by}_{n}"
                m.submodules[name] = multiplier = Multiplier(config.multiplier)
                m.d.comb += [multiplier.advance.eq(advance), multiplier.a.eq(operands[x][n]),
                             multiplier.b.eq(operands[by][n])]
                return multiplier.product

            for name, total in (("a", product("a", "cos") - product("b", "sin")),
                                ("b", product("b", "cos") + product("a", "sin"))):
                turned = Signal(total.shape(), name=f"turned_{name}_{n}", reset_less=True)
                with m.If(advance):
                    m.d.sync += [turned.eq(total), self.o.p[name][n].eq(self.round(turned))]
        return m

    def round(self, value):
        """Round half to even and saturate."""
        dropped = self.config.dropped_bits
        floor, half = value[dropped:].as_signed(), value[dropped - 1]
        rounded = floor + (half & (value[:dropped - 1].any() | floor[0]))
        if len(rounded) <= WORD_BITS:
            return rounded
        fits = rounded[WORD_BITS - 1:] == rounded[-1].replicate(len(rounded) - WORD_BITS + 1)
        limit = Cat((~rounded[-1]).replicate(WORD_BITS - 1), rounded[-1])
        return Mux(fits, rounded[:WORD_BITS], limit).as_signed()
