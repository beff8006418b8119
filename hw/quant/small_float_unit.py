# SPDX-License-Identifier: Apache-2.0
"""Iterative unit for the few small-float operations that a token needs."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.quant_config import EXPONENT_BITS, MANTISSA_BITS, SmallFloatUnitConfig
from hw.quant.scale_lanes import SMALL_FLOAT

__all__ = ["REQUEST", "Operation", "SmallFloatUnit"]

DIGITS = {"mul": MANTISSA_BITS, "div": 18, "sqrt": 34, "add": 20}
"""Iterations: bits of the multiplier, digits of the quotient, half digits of the root, and the
places after which the smaller addend no longer matters."""


class Operation(enum.Enum, shape=unsigned(3)):
    """What to compute."""

    FROM_INT = 0
    MUL = 1
    DIV = 2
    SQRT = 3
    ADD = 4


REQUEST = data.StructLayout({
    "operation": Operation,
    "a": SMALL_FLOAT,
    "b": SMALL_FLOAT,
    "n": 64,
})
"""What to compute from what: `n` is the integer of FROM_INT, `a` and `b` belong to the others."""


class SmallFloatUnit(wiring.Component):
    """``n``, ``a * b``, ``a / b``, ``sqrt(a)`` or ``a + b`` as a small float, rounded half to even.

    One operation at a time: ``o.valid`` rises ``config.latency[operation]`` cycles after the
    request was accepted, whatever the operands, and ``i.ready`` in the cycle after the response's.
    Neither depends combinationally on the other side.

    Total: too large gives the largest small float, too small zero, ``x / 0`` the largest one for
    x > 0 and ``0 / 0`` zero.

    One 64-bit register ``v`` holds addends, remainder, radicand and product; its top 20 bits have
    an adder.  A result is normalised in ``v`` and rounded to the 16 bits at its top.

    Members
    -------
    i : :py:`In(stream.Signature(REQUEST))`
    o : :py:`Out(stream.Signature(SMALL_FLOAT))`
    """

    def __init__(self, config: SmallFloatUnitConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(REQUEST)),
            "o": Out(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        v, d, q = Signal(64), Signal(MANTISSA_BITS), Signal(18)
        e, count = Signal(signed(EXPONENT_BITS + 2)), Signal(range(max(DIGITS.values()) + 1))
        operation, by_zero, of_zero = Signal(Operation), Signal(), Signal()
        request, a, b = self.i.p, self.i.p.a, self.i.p.b

        # Zero counts as the smaller addend, whatever its exponent.
        apart = Signal(signed(EXPONENT_BITS + 1))
        m.d.comb += apart.eq(a.e - b.e)
        swap = (a.m == 0) | (apart < 0) & (b.m != 0)
        distance = Mux(swap, -apart, apart)
        far = (distance < 0) | (distance > DIGITS["add"])

        rooting, dividing = operation == Operation.SQRT, operation == Operation.DIV
        subtract = rooting | dividing
        left = Mux(subtract, v[43:63], v[44:64])
        right = Mux(rooting, Cat(C(1, 2), q),
                    d & Mux(operation == Operation.MUL, v[0].replicate(len(d)), ~C(0, len(d))))
        total = (Cat(C(1, 1), left) + Cat(subtract, right ^ subtract.replicate(20)))[1:]
        fits = total[20]  # the carry out: no borrow

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [operation.eq(request.operation), q.eq(0), d.eq(a.m),
                             by_zero.eq(0), of_zero.eq(0)]
                with m.Switch(request.operation):
                    with m.Case(Operation.MUL):
                        m.d.sync += [v.eq(b.m), e.eq(a.e + b.e + 20), count.eq(DIGITS["mul"])]
                    with m.Case(Operation.DIV):
                        m.d.sync += [v.eq(a.m << 43), d.eq(b.m), e.eq(a.e - b.e - 15),
                                     by_zero.eq(b.m == 0), of_zero.eq(a.m == 0),
                                     count.eq(DIGITS["div"])]
                    with m.Case(Operation.SQRT):
                        m.d.sync += [v.eq(Mux(a.e[0], a.m << 27, a.m << 28)),
                                     e.eq((a.e + 1 >> 1) - 7), count.eq(DIGITS["sqrt"])]
                    with m.Case(Operation.ADD):
                        m.d.sync += [v.eq(Mux(swap, a.m, b.m) << 44), d.eq(Mux(swap, b.m, a.m)),
                                     e.eq(Mux(swap, b.e, a.e) + 4), count.eq(DIGITS["add"]),
                                     q.eq(Mux(far, DIGITS["add"], distance))]
                    with m.Default():
                        m.d.sync += [v.eq(request.n), e.eq(48), count.eq(7)]
                with m.If(self.i.valid):
                    m.next = "ITERATE"
                    with m.If(request.operation == Operation.FROM_INT):
                        m.next = "BYTES"

            with m.State("ITERATE"):
                m.d.sync += count.eq(count - 1)
                with m.Switch(operation):
                    with m.Case(Operation.MUL):
                        m.d.sync += v.eq(Cat(v[1:44], total))
                    with m.Case(Operation.ADD):
                        with m.If(count <= q[:5]):
                            m.d.sync += v.eq(v >> 1)
                    with m.Default():
                        # A root's digit takes two bits of the radicand: every other step compares.
                        compare = dividing | count[0]
                        m.d.sync += v.eq(v << 1)
                        with m.If(compare & fits):
                            m.d.sync += v[44:].eq(total)
                        with m.If(compare):
                            m.d.sync += q.eq(Cat(fits, q))
                with m.If(count == 1):
                    m.next = "COLLECT"
                    with m.If(operation == Operation.MUL):
                        m.d.sync += count.eq(5)
                        m.next = "BITS"

            with m.State("COLLECT"):
                m.d.sync += count.eq(4)
                m.next = "BITS"
                with m.If(subtract):
                    m.d.sync += [v.eq(Cat(v[44:].any(), C(0, 45), q)), count.eq(1)]
                with m.Else():
                    m.d.sync += v[44:].eq(total)

            with m.State("BYTES"):
                m.d.sync += count.eq(count - 1)
                with m.If(~v[56:].any()):
                    m.d.sync += [v.eq(v << 8), e.eq(e - 8)]
                with m.If(count == 1):
                    m.d.sync += count.eq(7)
                    m.next = "BITS"

            with m.State("BITS"):
                m.d.sync += count.eq(count - 1)
                with m.If(~v[63]):
                    m.d.sync += [v.eq(v << 1), e.eq(e - 1)]
                with m.If(count == 1):
                    m.next = "ROUND"

            with m.State("ROUND"):
                rounded = v[48:] + (v[47] & (v[:47].any() | v[48]))
                carry = rounded[MANTISSA_BITS]
                power = Signal(signed(EXPONENT_BITS + 2))
                m.d.comb += power.eq(e + carry)
                m.d.sync += [self.o.p.m.eq(Cat(rounded[:15], rounded[15] | carry)),
                             self.o.p.e.eq(power)]
                with m.If((power > 127) | by_zero):
                    m.d.sync += [self.o.p.m.eq(0xFFFF), self.o.p.e.eq(127)]
                with m.If(~by_zero & (power < -128) | ~v[63] | of_zero):
                    m.d.sync += [self.o.p.m.eq(0), self.o.p.e.eq(0)]
                m.next = "RESPOND"

            with m.State("RESPOND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
