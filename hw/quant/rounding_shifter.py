# SPDX-License-Identifier: Apache-2.0
"""Right shifter that keeps what rounding to nearest even and saturation need."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.quant_config import RoundingShifterConfig

__all__ = ["RoundingShifter"]


def choose(select, choices):
    """Return one of four values by two bits, as one LUT6 a bit."""
    return Mux(select[1], Mux(select[0], choices[3], choices[2]),
               Mux(select[0], choices[1], choices[0]))


def same(bits, sign):
    """Return whether all `bits` equal `sign`."""
    return bits == sign.replicate(len(bits))


class RoundingShifter(wiring.Component):
    """Floor of ``value * 2**-(fraction_bits + places)``, and what the floor dropped.

    Moves on in cycles in which `advance` is set, ``config.latency`` of them from operands to
    results.  It does not round: ``floor + (half & (sticky | floor[0]))`` is nearest, ties to even.
    From 64 places on, `window` and `half` are 0.

    Members
    -------
    advance : :py:`In(1)`
    value : :py:`In(Shape(value_bits, signed))`
    places : :py:`In(7)`
    window : :py:`Out(Shape(window_bits, signed))`
        Low bits of the floor.
    half : :py:`Out(1)`
        First dropped bit.
    sticky : :py:`Out(1)`
        Some later dropped bit is set.
    over : :py:`Out(1)`
        The floor does not fit `window`.
    negative : :py:`Out(1)`
        Sign of `value`.
    """

    def __init__(self, config: RoundingShifterConfig):
        self.config = config
        super().__init__({
            "advance": In(1),
            "value": In(Shape(config.value_bits, config.signed)),
            "places": In(config.places_bits),
            "window": Out(Shape(config.window_bits, config.signed)),
            "half": Out(1),
            "sticky": Out(1),
            "over": Out(1),
            "negative": Out(1),
        })

    def step(self, bits, base, select, unit, spare, sign):
        """Shift right by `base` + 0, 1, 2 or 3 `unit`; keep half, window and `spare` bits above.

        Returns what is kept, whether a bit below it is set, and whether one above is not the sign.
        """
        keep = 1 + self.config.window_bits + spare
        missing = base + 3 * unit + keep - len(bits)
        bits = Cat(bits, sign.replicate(max(0, missing)))
        starts = [base + n * unit for n in range(4)]
        return (choose(select, [bits[start:start + keep] for start in starts]),
                choose(select, [bits[:start].any() for start in starts]),
                choose(select, [~same(bits[start + keep:], sign) for start in starts]))

    def elaborate(self, platform):
        config = self.config
        m = Module()
        sign = self.value[-1] if config.signed else C(0, 1)
        # The point is above bit `base`, which is the half.
        value = Cat(C(0, max(0, 1 - config.fraction_bits)), self.value)
        base = max(config.fraction_bits, 1) - 1

        kept, below, above = self.step(value, base, self.places[4:6], 16, 15, sign)
        coarse, sticky, over, negative, places = (
            Signal(kept.shape(), name="coarse", reset_less=True),
            *(Signal(name=name, reset_less=True) for name in ("below", "above", "sign")),
            Signal(4, name="fine_places", reset_less=True))
        with m.If(self.advance):
            m.d.sync += [coarse.eq(kept), sticky.eq(below), over.eq(above), negative.eq(sign),
                         places.eq(self.places)]
            with m.If(self.places[6]):
                m.d.sync += [coarse.eq(0), over.eq(0), negative.eq(0)]

        kept, below_4, above_4 = self.step(coarse, 0, places[2:4], 4, 3, negative)
        kept, below_1, above_1 = self.step(kept, 0, places[0:2], 1, 0, negative)
        if config.signed:
            above_1 = above_1 | (kept[-1] ^ negative)
        with m.If(self.advance):
            m.d.sync += [
                self.half.eq(kept[0]),
                self.window.eq(kept[1:]),
                self.sticky.eq(sticky | below_4 | below_1),
                self.over.eq(over | above_4 | above_1),
                self.negative.eq(negative),
            ]
        return m
