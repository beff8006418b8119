# SPDX-License-Identifier: Apache-2.0
"""Integers times a small float, rounded to nearest even and saturated: P lanes a cycle."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.quant_config import EXPONENT_BITS, MANTISSA_BITS, ScaleLanesConfig
from hw.delay import delayed, later, vacant
from hw.quant.multiplier import Multiplier
from hw.quant.rounding_shifter import RoundingShifter

__all__ = ["SMALL_FLOAT", "ScaleLanes"]

SMALL_FLOAT = data.StructLayout({"m": MANTISSA_BITS, "e": signed(EXPONENT_BITS)})
"""Value ``m * 2**e``; `m` is 0 (then `e` is 0) or has its top bit set."""


class ScaleLanes(wiring.Component):
    """``y * scale * 2**shift``, rounded half to even and saturated to ``out_bits``, in each lane.

    One beat a cycle, ``config.latency`` cycles late.  The pipeline stalls as a whole while ``o``
    holds a beat that is not accepted, so ``i.ready`` depends combinationally on ``o.ready``.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"y": signed(in_bits)[P], "scale": SMALL_FLOAT,`
        :py:`"shift": signed(shift_bits)})))`
        The scale and the shift may differ from beat to beat.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(out_bits), P)))`
    """

    def __init__(self, config: ScaleLanesConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "y": data.ArrayLayout(signed(config.in_bits), config.lanes),
                "scale": SMALL_FLOAT,
                "shift": signed(config.shift_bits),
            }))),
            "o": Out(stream.Signature(data.ArrayLayout(signed(config.out_bits), config.lanes))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        advance = ~self.o.valid | self.o.ready
        operands = Signal(self.i.payload.shape(), reset_less=True)
        with m.If(advance):
            m.d.sync += operands.eq(self.i.payload)
        *_, ahead, valid = delayed(m, self.i.valid, config.latency, "valid", advance=advance,
                                   reset_less=False)
        m.d.comb += [self.o.valid.eq(valid), self.i.ready.eq(
            vacant(m, ahead, "vacant", advance=advance) | self.o.ready)]

        # A mantissa is at least 2**15: scales above this exponent saturate all but zero.
        places = Signal(signed(max(EXPONENT_BITS, config.shift_bits) + 2))
        m.d.comb += places.eq(config.out_bits - MANTISSA_BITS - operands.scale.e - operands.shift)
        huge, tiny = places < 0, places >= 64
        amount = Cat(places[:6] & ~huge.replicate(6), tiny & ~huge)
        amount = later(m, amount, config.multiplier.latency, "amount", advance=advance)
        huge = later(m, huge, config.multiplier.latency + config.shifter.latency, "huge",
                     advance=advance)

        for n in range(config.lanes):
            m.submodules[f"multiplier_{n}"] = multiplier = Multiplier(config.multiplier)
            m.submodules[f"shifter_{n}"] = shifter = RoundingShifter(config.shifter)
            m.d.comb += [
                multiplier.advance.eq(advance),
                multiplier.a.eq(operands.y[n]),
                multiplier.b.eq(operands.scale.m),
                shifter.advance.eq(advance),
                # The operand's top bit is the mantissa's absent sign.
                shifter.value.eq(multiplier.product),
                shifter.places.eq(amount),
            ]
            rounded = shifter.window + (shifter.half & (shifter.sticky | shifter.window[0]))
            some = shifter.over | shifter.window.any() | shifter.half | shifter.sticky
            saturated = (shifter.over | huge & some
                         | rounded[config.out_bits] ^ rounded[config.out_bits - 1])
            limit = Cat((~shifter.negative).replicate(config.out_bits - 1), shifter.negative)
            with m.If(advance):
                m.d.sync += self.o.payload[n].eq(
                    Mux(saturated, limit, rounded[:config.out_bits]).as_signed())
        return m
