# SPDX-License-Identifier: Apache-2.0
"""From one head's integer scores to units of log2 with 8 fraction bits."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.softmax_config import KV_EXPONENT_BITS, KV_MANTISSA_BITS, LogScoreConfig
from hw.delay import later
from hw.quant.multiplier import Multiplier
from hw.quant.scale_lanes import SMALL_FLOAT, ScaleLanes

__all__ = ["LogScore", "kv_parts"]

KV_BIAS = 50
FRACTION_BITS = KV_MANTISSA_BITS - 1


def kv_parts(scale):
    """Return mantissa, zero for a scale of zero, and biased exponent of a 16-bit KV scale."""
    some = scale.any()
    return Cat(scale[:FRACTION_BITS], some), scale[FRACTION_BITS:]


class LogScore(wiring.Component):
    """``z = sat24(RNE(sum * u))`` with ``u = unit * scale`` rounded to a small float.

    One score a cycle, ``config.latency`` cycles late; it never stalls, and unit and scale may
    change from cycle to cycle.

    What a small float would saturate or flush to zero needs no care here: a product that large
    saturates every score but zero, one that small rounds every score to zero.

    Members
    -------
    sum : :py:`In(signed(sum_bits))`
    unit : :py:`In(SMALL_FLOAT)`
        ``s_q * 2**8 * log2(e) / sqrt(head_dim)``.
    scale : :py:`In(16)`
        KV scale of the row.
    z : :py:`Out(signed(24))`
    """

    def __init__(self, config: LogScoreConfig):
        self.config = config
        super().__init__({
            "sum": In(signed(config.sum_bits)),
            "unit": In(SMALL_FLOAT),
            "scale": In(FRACTION_BITS + KV_EXPONENT_BITS),
            "z": Out(signed(WORD_BITS)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.multiplier = multiplier = Multiplier(config.multiplier)
        mantissa, exponent = kv_parts(self.scale)
        m.d.comb += [multiplier.advance.eq(1), multiplier.a.eq(self.unit.m),
                     multiplier.b.eq(mantissa)]
        ahead = config.multiplier.latency
        power = later(m, self.unit.e, ahead + 1, "power")
        exponent = later(m, exponent, ahead, "exponent")

        # The product of two normal mantissas has its top bit in the highest place or the next.
        product = multiplier.product[:self.unit.m.shape().width + KV_MANTISSA_BITS]
        top = product[-1]
        wide = Mux(top, product, Cat(C(0, 1), product))[:len(product)]
        kept, half, rest = wide[-16:], wide[-17], wide[:-17]
        rounded = Signal(17)
        m.d.comb += rounded.eq(kept + (half & (rest.any() | kept[0])))
        factor, shift = Signal(16, reset_less=True), Signal(signed(8), reset_less=True)
        m.d.sync += [
            factor.eq(Cat(rounded[:15], rounded[15] | rounded[16])),
            shift.eq(exponent + (top + rounded[16]) + (FRACTION_BITS - KV_BIAS)),
        ]

        m.submodules.lanes = lanes = ScaleLanes(config.scale)
        m.d.comb += [
            lanes.i.valid.eq(1), lanes.o.ready.eq(1),
            lanes.i.p.y[0].eq(later(m, self.sum, ahead + 1, "sum")),
            lanes.i.p.scale.m.eq(factor), lanes.i.p.scale.e.eq(power), lanes.i.p.shift.eq(shift),
            self.z.eq(lanes.o.p[0]),
        ]
        return m
