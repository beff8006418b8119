# SPDX-License-Identifier: Apache-2.0
"""Residual addition: fixed-point words plus a projection's scaled sums, P lanes a cycle."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.vector_config import ResidualAddConfig
from hw.quant.scale_lanes import SMALL_FLOAT, ScaleLanes

__all__ = ["ResidualAdd"]


class ResidualAdd(wiring.Component):
    """``saturate(x + saturate(round(y * scale * 2**shift)))`` in each lane, in 24-bit words.

    One beat a cycle, ``config.latency`` cycles late.  ``i.ready`` depends combinationally on
    ``o.ready``.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"x": signed(24)[P], "y": signed(in_bits)[P],`
        :py:`"scale": SMALL_FLOAT, "shift": signed(8)})))`
        Residual words, sums, and for both the residual format's fraction bits as `shift`.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(24), P)))`
    """

    def __init__(self, config: ResidualAddConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "x": data.ArrayLayout(signed(WORD_BITS), config.lanes),
                "y": data.ArrayLayout(signed(config.in_bits), config.lanes),
                "scale": SMALL_FLOAT,
                "shift": signed(config.scale.shift_bits),
            }))),
            "o": Out(stream.Signature(data.ArrayLayout(signed(WORD_BITS), config.lanes))),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.scale = scale = ScaleLanes(self.config.scale)
        m.d.comb += [
            scale.i.valid.eq(self.i.valid), self.i.ready.eq(scale.i.ready),
            *(getattr(scale.i.p, name).eq(getattr(self.i.p, name))
              for name in ("y", "scale", "shift")),
            scale.o.ready.eq(advance := ~self.o.valid | self.o.ready),
        ]
        # The words keep step with the scaling pipeline, which moves as a whole when it is ready.
        words = self.i.p.x
        for step in range(self.config.scale.latency):
            held = Signal(words.shape(), name=f"x_{step}", reset_less=True)
            with m.If(scale.i.ready):
                m.d.sync += held.eq(words)
            words = held
        with m.If(advance):
            m.d.sync += self.o.valid.eq(scale.o.valid)
            for x, addend, o in zip(words, scale.o.p, self.o.p):
                total = x + addend
                limit = Cat((~total[-1]).replicate(WORD_BITS - 1), total[-1])
                m.d.sync += o.eq(Mux(total[-1] ^ total[-2], limit, total[:-1]).as_signed())
        return m
