# SPDX-License-Identifier: Apache-2.0
"""Squared ReLU of a gate times its up sum, as 24-bit words: P lanes a cycle."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.vector_config import Relu2GluConfig
from hw.delay import later
from hw.ffn.squarer import Squarer
from hw.quant.multiplier import Multiplier
from hw.quant.rounding_shifter import RoundingShifter

__all__ = ["Relu2Glu"]


class Relu2Glu(wiring.Component):
    """``max(gate, 0)**2 * up / 2**shift``, rounded half to even, in each lane.

    One beat a cycle, ``config.latency`` cycles late.  The pipeline stalls as a whole while ``o``
    holds a beat that is not accepted, so ``i.ready`` depends combinationally on ``o.ready``.

    There is no saturation: with the shift that :class:`hw.ffn.gate_peak.GatePeak` forms, the
    product is below 2**23 before rounding and, gates having at most 20 bits, after it.  A smaller
    shift leaves the low bits of what does not fit.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"gate": signed(gate_bits)[P],`
        :py:`"up": signed(up_bits)[P], "shift": unsigned(shift_bits)})))`
        The shift may differ from beat to beat.  Where the gate is not above zero, `up` may be
        anything.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(24), P)))`
    """

    def __init__(self, config: Relu2GluConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "gate": data.ArrayLayout(signed(config.gate_bits), config.lanes),
                "up": data.ArrayLayout(signed(config.up_bits), config.lanes),
                "shift": config.shift_bits,
            }))),
            "o": Out(stream.Signature(data.ArrayLayout(signed(WORD_BITS), config.lanes))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.d.comb += self.i.ready.eq(advance := ~self.o.valid | self.o.ready)

        m.d.comb += self.o.valid.eq(later(m, self.i.valid, config.latency, "valid",
                                          advance=advance, reset_less=False))
        places = later(m, self.i.p.shift, 1 + config.squarer_latency + config.multiplier.latency,
                       "places", advance=advance)
        for n in range(config.lanes):
            m.submodules[f"squarer_{n}"] = squarer = Squarer(config)
            m.submodules[f"multiplier_{n}"] = multiplier = Multiplier(config.multiplier)
            m.submodules[f"shifter_{n}"] = shifter = RoundingShifter(config.shifter)
            gate = self.i.p.gate[n]
            relu = Signal(config.relu_bits, name=f"relu_{n}", reset_less=True)
            with m.If(advance):
                m.d.sync += relu.eq(Mux(gate[-1], 0, gate[:-1]))
            m.d.comb += [
                squarer.advance.eq(advance),
                squarer.x.eq(relu),
                multiplier.advance.eq(advance),
                # The operand's top bit is the square's absent sign.
                multiplier.a.eq(squarer.square),
                multiplier.b.eq(later(m, self.i.p.up[n], 1 + config.squarer_latency, f"up_{n}",
                                         advance=advance)),
                shifter.advance.eq(advance),
                shifter.value.eq(multiplier.product),
                shifter.places.eq(places),
            ]
            with m.If(advance):
                m.d.sync += self.o.payload[n].eq(
                    shifter.window + (shifter.half & (shifter.sticky | shifter.window[0])))
        return m
