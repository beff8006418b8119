# SPDX-License-Identifier: Apache-2.0
"""What a vector of gates tells ahead of its up rows: which are needed, and the shift."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.vector_config import Relu2GluConfig

__all__ = ["GatePeak"]


class GatePeak(wiring.Component):
    """Mask of the gates above zero, and the shift under which no product exceeds a 24-bit word.

    The shift is ``max(0, 2 * bitlen(largest gate) + peak_bits - 23)`` over the gates of the vector
    so far: that of :class:`hw.ffn.relu2_glu.Relu2Glu` in the vector's last beat.  The bit length of
    the largest is that of the union of all, so that nothing is compared.

    One beat a cycle, ``config.peak_latency`` cycles late, vectors without a gap between them.  The
    pipeline stalls as a whole while ``o`` holds a beat that is not accepted, so ``i.ready`` depends
    combinationally on ``o.ready``.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"gate": signed(gate_bits)[P],`
        :py:`"peak_bits": range(up_bits + 1), "last": 1})))`
        `peak_bits` is the bit length of the bound on ``|up|``; lanes beyond the vector's end are 0.
    o : :py:`Out(stream.Signature(StructLayout({"mask": 1[P], "shift": unsigned(shift_bits),`
        :py:`"last": 1})))`
    """

    def __init__(self, config: Relu2GluConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "gate": data.ArrayLayout(signed(config.gate_bits), config.lanes),
                "peak_bits": range(config.up_bits + 1),
                "last": 1,
            }))),
            "o": Out(stream.Signature(data.StructLayout({
                "mask": data.ArrayLayout(1, config.lanes),
                "shift": config.shift_bits,
                "last": 1,
            }))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.d.comb += self.i.ready.eq(advance := ~self.o.valid | self.o.ready)

        valid, last = Signal(), Signal(init=1)
        mask = Signal(config.lanes, reset_less=True)
        union = Signal(config.relu_bits, reset_less=True)
        peak_bits = Signal.like(self.i.p.peak_bits, reset_less=True)
        relu = [Mux(gate[-1], 0, gate[:-1]) for gate in self.i.p.gate]
        with m.If(advance):
            m.d.sync += valid.eq(self.i.valid)
            with m.If(self.i.valid):
                m.d.sync += [
                    last.eq(self.i.p.last),
                    mask.eq(Cat(gate.any() for gate in relu)),
                    union.eq(Mux(last, 0, union) | Cat(
                        Cat(gate[bit] for gate in relu).any() for bit in range(config.relu_bits))),
                    peak_bits.eq(self.i.p.peak_bits),
                ]

        gate_bits = Signal(range(config.gate_bits))
        for bit in range(config.relu_bits):
            with m.If(union[bit]):
                m.d.comb += gate_bits.eq(bit + 1)
        shift = Cat(C(0, 1), gate_bits) + peak_bits - (WORD_BITS - 1)
        with m.If(advance):
            m.d.sync += [
                self.o.valid.eq(valid),
                self.o.p.mask.eq(mask),
                self.o.p.shift.eq(Mux(shift < 0, 0, shift)),
                self.o.p.last.eq(last),
            ]
        return m
