# SPDX-License-Identifier: Apache-2.0
"""Small-float arithmetic in a few cycles an operation."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.quant_config import EXPONENT_BITS, MANTISSA_BITS
from golden_model.quick_float_config import QUOTIENT_DIGITS, QuickFloatConfig
from hw.quant.multiplier import Multiplier
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation

__all__ = ["QuickFloatUnit"]

WIDTH = MANTISSA_BITS + 2
"""Bits ahead of rounding, the top one in the highest place or the next; what lies below them is
one bit."""


class QuickFloatUnit(wiring.Component):
    """The operations of :class:`hw.quant.small_float_unit.SmallFloatUnit` in a few cycles each.

    The same streams and results, for the operations of the configuration only: a multiplier,
    ``config.digits`` digits of a quotient or a root a cycle, an integer normalised in
    ``config.shifts`` cycles, an addend aligned in two.
    One operation at a time: ``o.valid`` rises ``config.latency[operation]`` cycles after the
    request was accepted, ``i.ready`` in the cycle after the response's.  Neither depends
    combinationally on the other side.

    Members
    -------
    i : :py:`In(stream.Signature(REQUEST))`
        Of `n` the lowest ``config.int_bits`` bits count.  Other operations mean nothing.
    o : :py:`Out(stream.Signature(SMALL_FLOAT))`
    """

    def __init__(self, config: QuickFloatConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(REQUEST)),
            "o": Out(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        # What is rounded; the sum of exponents as of its highest place.
        value, below = Signal(WIDTH), Signal()
        e = Signal(signed(EXPONENT_BITS + 2), reset_less=True)
        by_zero, of_zero = Signal(), Signal()
        idle, start, done = Signal(), Signal(), Signal()
        self.request = Signal(REQUEST, reset_less=True) if config.registered else self.i.p
        asked = self.request.operation
        operation, count = Signal(Operation), Signal(range(max(config.latency.values())))
        with m.Switch(asked):
            for name, latency in config.latency.items():
                with m.Case(Operation[name.upper()]):
                    with m.If(idle):
                        m.d.sync += count.eq(latency - config.registered - 2)
        with m.If(idle):
            m.d.sync += [operation.eq(asked), by_zero.eq(0), of_zero.eq(0)]
        with m.Else():
            m.d.sync += count.eq(count - 1)

        for name, build in (("from_int", self.convert), ("mul", self.multiply),
                            ("div", self.divide), ("sqrt", self.root), ("add", self.add)):
            if name not in config.operations:
                continue
            chosen = Operation[name.upper()]
            mine = (asked == chosen) & (start if name == "from_int" else idle)
            found, rest = build(m, idle, mine, e, by_zero, of_zero)
            with m.If((operation == chosen) if len(config.operations) > 1 else C(1, 1)):
                m.d.comb += [value.eq(found), below.eq(rest)]

        with m.FSM():
            if config.registered:
                with m.State("LISTEN"):
                    m.d.comb += self.i.ready.eq(1)
                    m.d.sync += self.request.eq(self.i.p)
                    with m.If(self.i.valid):
                        m.next = "IDLE"
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                if config.registered:
                    m.d.comb += start.eq(1)
                else:
                    m.d.comb += [self.i.ready.eq(1), start.eq(self.i.valid)]
                with m.If(start):
                    m.next = "WORK"
            with m.State("WORK"):
                with m.If(count == 0):
                    m.d.comb += done.eq(1)
                    m.next = "RESPOND"
            with m.State("RESPOND"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "LISTEN" if config.registered else "IDLE"
        with m.If(done):
            self.round(m, value, below, e, by_zero, of_zero)
        return m

    def convert(self, m, idle, mine, e, by_zero, of_zero):
        """Normalise an integer; return its highest bits, and whether there are others."""
        bits = self.config.int_bits
        n, found, rest = (Signal(bits, reset_less=True), Signal(WIDTH, reset_less=True),
                          Signal(reset_less=True))
        with m.If(idle):
            m.d.sync += n.eq(self.request.n)
        # From the second cycle on; in the last, which rounds, `n` has no say.
        active, moved = Signal(), n
        m.d.sync += active.eq(mine)
        levels = list(reversed(range((bits - 1).bit_length())))
        size, counted = -(-len(levels) // self.config.shifts), []   # places, the most first
        for stage in range(self.config.shifts):
            for level in levels[stage * size:(stage + 1) * size]:
                free = ~moved[-(1 << level):].any()
                moved = Mux(free, moved << (1 << level), moved)[:bits]
                counted.append(free)
            if stage < self.config.shifts - 1:
                held = Signal(bits, name=f"moved_{stage}", reset_less=True)
                later = Signal(name=f"active_{stage}")
                known = Signal(len(counted), name=f"counted_{stage}", reset_less=True)
                m.d.sync += [held.eq(moved), later.eq(active), known.eq(Cat(counted))]
                moved, active, counted = held, later, list(known)
        with m.If(active):
            m.d.sync += e.eq(bits - MANTISSA_BITS - Cat(reversed(counted)))
        m.d.sync += [found.eq(moved[-WIDTH:]), rest.eq(moved[:-WIDTH].any())]
        return found, rest

    def multiply(self, m, idle, mine, e, by_zero, of_zero):
        """Multiply mantissas; return the product's highest bits, and whether there are others."""
        m.submodules.multiplier = multiplier = Multiplier(self.config.multiplier)
        a, b = self.request.a, self.request.b
        m.d.comb += [multiplier.advance.eq(1), multiplier.a.eq(a.m), multiplier.b.eq(b.m)]
        with m.If(mine):
            m.d.sync += e.eq(a.e + b.e + MANTISSA_BITS)
        product = multiplier.product[:2 * MANTISSA_BITS]
        return product[-WIDTH:], product[:-WIDTH].any()

    def divide(self, m, idle, mine, e, by_zero, of_zero):
        """Divide mantissas; return the quotient, and whether something is left."""
        a, b, digits = self.request.a, self.request.b, self.config.digits
        divisor = Signal(MANTISSA_BITS, reset_less=True)
        left = Signal(MANTISSA_BITS + 1, reset_less=True)  # less than twice the divisor
        quotient = Signal(QUOTIENT_DIGITS, reset_less=True)
        more = Signal(range(QUOTIENT_DIGITS // digits + 1))
        with m.If(idle):
            m.d.sync += [divisor.eq(b.m), left.eq(a.m),
                         more.eq(QUOTIENT_DIGITS // digits)]
            with m.If(mine):
                m.d.sync += [e.eq(a.e - b.e - (MANTISSA_BITS - 1)), by_zero.eq(b.m == 0),
                             of_zero.eq(a.m == 0)]
        with m.Elif(more != 0):
            rest, found = left, []
            for _ in range(digits):
                apart = (rest - divisor)[:MANTISSA_BITS + 2]
                fits = ~apart[-1]
                found.append(fits)
                rest = Cat(C(0, 1), Mux(fits, apart, rest)[:MANTISSA_BITS])
            m.d.sync += [more.eq(more - 1), left.eq(rest),
                         quotient.eq(Cat(*reversed(found), quotient))]
        return quotient, left.any()

    def root(self, m, idle, mine, e, by_zero, of_zero):
        """Take a mantissa's root, digit by digit; return it, and whether something is left."""
        a, digits = self.request.a, self.config.digits
        # Below the mantissa, whose weight has to be even, the radicand's pairs of bits are zero.
        radicand = Signal(QUOTIENT_DIGITS, reset_less=True)
        left = Signal(QUOTIENT_DIGITS + 1, reset_less=True)  # at most twice the root
        root = Signal(QUOTIENT_DIGITS, reset_less=True)
        more = Signal(range(QUOTIENT_DIGITS // digits + 1))
        with m.If(idle):
            m.d.sync += [radicand.eq(Mux(a.e[0], a.m << 1, a.m << 2)), left.eq(0), root.eq(0),
                         more.eq(QUOTIENT_DIGITS // digits)]
            with m.If(mine):
                m.d.sync += e.eq((a.e + 1 >> 1) - MANTISSA_BITS // 2)
        with m.Elif(more != 0):
            rest, known, pairs = left, root, radicand
            for _ in range(digits):
                rest = Cat(pairs[-2:], rest)
                apart = (rest - Cat(C(1, 2), known))[:QUOTIENT_DIGITS + 3]
                fits = ~apart[-1]
                rest = Mux(fits, apart, rest)[:QUOTIENT_DIGITS + 1]
                known, pairs = Cat(fits, known)[:QUOTIENT_DIGITS], Cat(C(0, 2), pairs[:-2])
            m.d.sync += [more.eq(more - 1), left.eq(rest), root.eq(known), radicand.eq(pairs)]
        return root, left.any()

    def add(self, m, idle, mine, e, by_zero, of_zero):
        """Add mantissas; return the sum with one bit below it, and whether there are others."""
        a, b = self.request.a, self.request.b
        apart, distance = Signal(signed(EXPONENT_BITS + 1)), Signal(range(WIDTH + 1))
        large, total = Signal(MANTISSA_BITS, reset_less=True), Signal(WIDTH, reset_less=True)
        small, near = (Signal(MANTISSA_BITS + 1, name=name, reset_less=True)
                       for name in ("small", "near"))
        lost, rest = Signal(reset_less=True), Signal(reset_less=True)
        # Zero counts as the smaller addend, whatever its exponent.
        m.d.comb += apart.eq(a.e - b.e)
        swap = (a.m == 0) | (apart < 0) & (b.m != 0)
        far = Mux(swap, -apart, apart)
        with m.If(idle):
            # From WIDTH places on, nothing is left but that there was something.
            m.d.sync += [large.eq(Mux(swap, b.m, a.m)), small.eq(Mux(swap, a.m, b.m) << 1),
                         distance.eq(Mux((far < 0) | (far > WIDTH), WIDTH, far))]
            with m.If(mine):
                m.d.sync += e.eq(Mux(swap, b.e, a.e) + 1)
        coarse, fine = distance[2:], distance[:2]
        nearer, gone = self.shift(small, [4 * n for n in range(WIDTH // 4 + 1)], coarse)
        aligned, beyond = self.shift(near, range(4), fine)
        m.d.sync += [near.eq(nearer), lost.eq(gone),
                     total.eq((large << 1) + aligned), rest.eq(lost | beyond)]
        return total, rest

    @staticmethod
    def shift(value, places, choice):
        """Shift right by one of some numbers of places; say also whether a one was lost."""
        bits = len(value)
        return (Array(value >> by for by in places)[choice],
                Array(value[:min(by, bits)].any() for by in places)[choice])

    def round(self, m, value, below, e, by_zero, of_zero):
        """Round to the mantissa; what leaves the exponent's range saturates or is zero."""
        top = value[-1]
        wide = Mux(top, value, Cat(C(0, 1), value))[:WIDTH]
        kept, half, rest = wide[2:], wide[1], wide[0] | below
        up = half & (rest | kept[0])
        rounded = (kept + up)[:MANTISSA_BITS]
        # Exponents of both outcomes, so that the choice is what comes last.
        carry = up & kept.all()
        powers = [Signal(signed(EXPONENT_BITS + 3), name=f"power_{n}") for n in range(2)]
        m.d.comb += [power.eq(e + n - ~top) for n, power in enumerate(powers)]
        power, large, small = (Mux(carry, *reversed(pair)) for pair in (
            powers, [each > 127 for each in powers], [each < -128 for each in powers]))
        m.d.sync += [self.o.p.m.eq(Cat(rounded[:15], rounded[15] | carry)), self.o.p.e.eq(power)]
        with m.If(large | by_zero):
            m.d.sync += [self.o.p.m.eq(0xFFFF), self.o.p.e.eq(127)]
        with m.If(~by_zero & small | ~wide[-1] & ~by_zero | of_zero):
            m.d.sync += [self.o.p.m.eq(0), self.o.p.e.eq(0)]
