# SPDX-License-Identifier: Apache-2.0
"""From a shifted magnitude to the nearest activation code of either format."""

from amaranth import *
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CodeEncoder", "Format"]


class Format(enum.Enum, shape=unsigned(2)):
    """Code of an activation: INT4 absmean, FP4 (E2M1, doubled) absmax, INT8 absmax; or no code."""

    INT4 = 0
    FP4 = 1
    INT8 = 2
    RESIDUAL = 3


class CodeEncoder(wiring.Component):
    """Nearest code of a magnitude, ties to even, saturated, then its sign: combinational.

    INT4 and INT8 saturate at -8..7 and -128..127; FP4 codes are twice the E2M1 value, 0, 1, 2, 3,
    4, 6, 8 or 12, a tie goes to the even mantissa bit, and 12 is also what lies above.

    Members
    -------
    format : :py:`In(Format)`
    floor : :py:`In(8)`
    half, sticky : :py:`In(1)`
        First bit below the point, and whether any later one is set.
    over : :py:`In(1)`
        The magnitude is 256 or more, whatever `floor` says.
    negative : :py:`In(1)`
    code : :py:`Out(signed(8))`
    """

    format: In(Format)
    floor: In(8)
    half: In(1)
    sticky: In(1)
    over: In(1)
    negative: In(1)
    code: Out(signed(8))

    def elaborate(self, platform):
        m = Module()
        half, more = self.half, self.half | self.sticky
        above_half = half & self.sticky
        nearest = self.floor + (half & (self.sticky | self.floor[0]))
        magnitude = Signal(8)
        with m.Switch(self.format):
            with m.Case(Format.FP4):
                with m.Switch(self.floor):
                    for floor, code in enumerate([
                            above_half, 1 + half, 2 + above_half, 3 + half, 4,
                            Mux(more, 6, 4), 6, 8, 8, 8, Mux(more, 12, 8)]):
                        with m.Case(floor):
                            m.d.comb += magnitude.eq(code)
                    with m.Default():
                        m.d.comb += magnitude.eq(12)
                with m.If(self.over):
                    m.d.comb += magnitude.eq(12)
            with m.Case(Format.INT8):
                m.d.comb += magnitude.eq(nearest)
                with m.If(self.over | nearest[7:].any()):
                    m.d.comb += magnitude.eq(127 + self.negative)
            with m.Default():
                m.d.comb += magnitude.eq(nearest)
                with m.If(self.over | nearest[3:].any()):
                    m.d.comb += magnitude.eq(7 + self.negative)
        m.d.comb += self.code.eq(Mux(self.negative, -magnitude, magnitude))
        return m
