# SPDX-License-Identifier: Apache-2.0
"""Ternary x small-integer dot product: a multiplier-free adder tree between two streams."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import TernaryDotConfig
from hw.delay import vacant
from hw.mac import layouts
from hw.mac.carry_cells import add_columns, on_ecp5

__all__ = ["TernaryDot"]


def add_pairs(terms, carries):
    """Add neighbouring terms, each pair with one of `carries`; an odd last term passes through.

    Returns the sums and the carries that are left.  The carry enters through a column below the
    least significant one, where 1 + carry overflows just if the carry is set: it costs one bit of
    a carry chain, and no adder.
    """
    pairs = list(zip(terms[0::2], terms[1::2], carries))
    sums = [(Cat(C(1, 1), a) + Cat(carry, b))[1:] for a, b, carry in pairs]
    return sums + terms[len(terms) & ~1:], carries[len(pairs):]


def add_pairs_ecp5(m, terms, carries, operands):
    """Do what `add_pairs` does for the lanes, with carry cells that form every second product.

    They take sign and "not zero" of the second operand, whose product then needs no LUTs but for
    its top bit.

    Parameters
    ----------
    operands
        Activation and weight of each lane.
    """
    pairs = list(zip(terms[0::2], terms[1::2], operands[1::2], carries))
    sums = []
    for n, (a, b, (x, w), carry) in enumerate(pairs):
        columns = [(a[k], x[k], w[1], w[0]) for k in range(len(b) - 1)]
        columns += [(a[len(b) - 1], b[-1], C(0), C(1))]
        columns += [(bit, C(0), C(0), C(1)) for bit in a[len(b):]]
        sums.append(add_columns(m, f"pair_{n}", carry, [*columns, (C(0), C(0), C(0), C(1))]))
    return sums + terms[len(terms) & ~1:], carries[len(pairs):]


class TernaryDot(wiring.Component):
    """Sum of ``w[n] * x[n]`` over all lanes: one vector a cycle, ``config.latency`` cycles late.

    The pipeline stalls as a whole while ``o`` holds a sum that is not accepted, so ``i.ready``
    depends combinationally on ``o.ready``; put a queue after ``o`` to cut that path.

    A product is ``x`` or its complement or zero, and terms are offset by half their range, which
    makes them unsigned: carries out are then the top bits of sums, and the offsets of all lanes
    come off at the end.  A complement lacks one to be the negative.  The tree of n lanes has n - 1
    adders, whose carry inputs take that one for all lanes but the first, which is negated in full.

    Emitted for the family ``ecp5``, the first level of adders is made of that family's carry cells.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"w": signed(2)[n], "x": signed(digit_bits)[n]})))`
        Weights in {-1, 0, 1} (the spare code, -2, acts as 0) and activations, ``n`` lanes of each.
    o : :py:`Out(stream.Signature(config.sum_range))`
        Sums; the shape holds every one of them, so they never overflow.
    """

    def __init__(self, config: TernaryDotConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(layouts.dot_operands(config))),
            "o": Out(stream.Signature(config.sum_range)),
        })

    def terms(self):
        """Return the unsigned term of every lane, and what each but the first lacks."""
        bits = self.config.digit_bits
        # Bit 0 of a weight says "not zero", bit 1 "negative".
        weights = [Value.cast(w) for w in self.i.p.w]
        x = self.i.p.x[0]
        first = Mux(weights[0][0], Mux(weights[0][1], -x, x), 0) + (1 << bits - 1)
        terms = [first[:bits + 1]]
        for w, x in zip(weights[1:], list(self.i.p.x)[1:]):
            product = (x.as_unsigned() & w[0].replicate(bits)) ^ w[1].replicate(bits)
            terms.append(Cat(product[:-1], ~product[-1]))
        return terms, [w[1] for w in weights[1:]]

    def elaborate(self, platform):
        config = self.config
        m = Module()
        advance = ~self.o.valid | self.o.ready
        terms, carries = self.terms()
        offset = config.lanes << config.digit_bits - 1
        valid = self.i.valid
        with m.If(advance):
            for stage in range(config.latency):
                for level in range(config.levels_per_stage):
                    if stage == level == 0 and on_ecp5(platform):
                        operands = [(x.as_unsigned(), Value.cast(w))
                                    for x, w in zip(list(self.i.p.x), list(self.i.p.w))]
                        terms, carries = add_pairs_ecp5(m, terms, carries, operands)
                    else:
                        terms, carries = add_pairs(terms, carries)
                if len(terms) == 1:
                    terms = [(terms[0] - C(offset, len(terms[0])))[:len(self.o.payload)]]
                terms = self.register(m, terms, f"sum_{stage}")
                carries = self.register(m, carries, f"carry_{stage}")
                m.d.sync += (held := Signal(name=f"valid_{stage}")).eq(valid)
                ahead, valid = valid, held
        m.d.comb += [
            self.o.payload.eq(terms[0].as_signed()), self.o.valid.eq(valid),
            self.i.ready.eq(vacant(m, ahead, "vacant", advance=advance) | self.o.ready),
        ]
        return m

    @staticmethod
    def register(m, values, name):
        """Return `values` one cycle later; data needs no reset, the valid bits have one."""
        held = [Signal(len(value), name=f"{name}_{n}", reset_less=True)
                for n, value in enumerate(values)]
        m.d.sync += [signal.eq(value) for signal, value in zip(held, values)]
        return held
