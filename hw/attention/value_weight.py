# SPDX-License-Identifier: Apache-2.0
"""Softmax weight of one row for one head, and its product with the value row's scale."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.softmax_config import (
    KV_EXPONENT_BITS,
    KV_MANTISSA_BITS,
    TABLE_FRACTION_BITS,
    WEIGHT_BITS,
    ValueWeightConfig,
)
from hw.attention.log_score import kv_parts
from hw.delay import later
from hw.quant.multiplier import Multiplier
from hw.quant.rounding_shifter import RoundingShifter

__all__ = ["ValueWeight"]

OCTAVE_BITS = 4
"""A weight that is shifted by more than 15 places is zero."""

def nearest(shifter, bits):
    """Return what a shifter holds, rounded to nearest even."""
    return (shifter.window + (shifter.half & (shifter.sticky | shifter.window[0])))[:bits]


class ValueWeight(wiring.Component):
    """Weights ``p = RNE(2**15 * 2**(-d / 256))`` and ``w = RNE(p * m * 2**(e - E) / 2**8)``.

    ``d = largest - z`` is the distance from the largest log score; ``m * 2**e`` is the value row's
    scale as a small float and E the largest ``e``.  One row a cycle; ``p`` comes
    ``config.weight_latency`` cycles late, ``w`` ``config.latency``.  It never stalls.

    Members
    -------
    z, largest : :py:`In(signed(24))`
        Log score and the pass's largest one.
    scale : :py:`In(16)`
        KV scale of the value row.
    exponent : :py:`In(6)`
        Largest biased exponent of the KV scales that are not zero.
    p : :py:`Out(16)`
        At most 2**15.
    w : :py:`Out(24)`
    at : :py:`Out(8)`
        Asks a :class:`hw.attention.power_table.PowerTable`.
    power : :py:`In(16)`
        What that gives, in the next cycle.
    """

    def __init__(self, config: ValueWeightConfig):
        self.config = config
        super().__init__({
            "z": In(signed(WORD_BITS)),
            "largest": In(signed(WORD_BITS)),
            "scale": In(KV_MANTISSA_BITS - 1 + KV_EXPONENT_BITS),
            "exponent": In(KV_EXPONENT_BITS),
            "p": Out(WEIGHT_BITS),
            "w": Out(WORD_BITS),
            "at": Out(TABLE_FRACTION_BITS),
            "power": In(WEIGHT_BITS),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.octaves = octaves = RoundingShifter(config.table_shifter)
        m.submodules.multiplier = multiplier = Multiplier(config.multiplier)
        m.submodules.aligner = aligner = RoundingShifter(config.shifter)

        distance = Signal(WORD_BITS + 1, reset_less=True)
        m.d.sync += distance.eq(self.largest - self.z)
        whole = distance[TABLE_FRACTION_BITS:]
        far = later(m, whole[OCTAVE_BITS:].any(), config.weight_latency - 2, "far")
        m.d.comb += [
            self.at.eq(distance[:TABLE_FRACTION_BITS]),
            octaves.advance.eq(1), octaves.value.eq(self.power),
            octaves.places.eq(later(m, whole[:OCTAVE_BITS], 1, "places")),
        ]
        m.d.sync += self.p.eq(Mux(far, 0, nearest(octaves, WEIGHT_BITS)))

        mantissa, exponent = kv_parts(self.scale)
        below = Signal(KV_EXPONENT_BITS, reset_less=True)
        m.d.sync += below.eq(self.exponent - exponent)
        m.d.comb += [
            multiplier.advance.eq(1), multiplier.a.eq(self.p),
            multiplier.b.eq(later(m, mantissa, config.weight_latency, "mantissa")),
            aligner.advance.eq(1), aligner.value.eq(multiplier.product),
            aligner.places.eq(later(m, below, config.weight_latency + config.multiplier.latency - 1,
                                    "below")),
        ]
        m.d.sync += self.w.eq(nearest(aligner, WORD_BITS))
        return m
