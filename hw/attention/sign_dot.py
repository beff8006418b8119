# SPDX-License-Identifier: Apache-2.0
"""Dot product of a query with a row of mid-rise codes, as adder trees over signs."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.attention_config import SignDotConfig

__all__ = ["SignDot", "pair_layout"]


def pair_layout(config: SignDotConfig):
    """Sum and difference of two neighbouring query codes."""
    return data.StructLayout({"sum": signed(config.pair_bits),
                              "difference": signed(config.pair_bits)})


def add(left, right):
    """Add two terms, each a value and whether it counts negatively, as one of that kind.

    The sign of the left one is taken out of the sum and left to the end, so that an adder has its
    left operand as it is: one LUT a bit.
    """
    (a, a_negative), (b, b_negative) = left, right
    width = max(len(a), len(b))
    apart = a_negative ^ b_negative
    b = Cat(b, b[-1].replicate(width - len(b)))
    # A complement lacks one: it enters through a column below the lowest.
    total = Cat(C(1, 1), a).as_signed() + Cat(apart, b ^ apart.replicate(width)).as_signed()
    return total[1:width + 2].as_signed(), a_negative


class SignDot(wiring.Component):
    """``sum(q[n] * (2 * u[n] - L))`` over all lanes, with ``L = 2**code_bits - 1``.

    One product for each cycle in which `advance` is set; it appears with its sign apart after
    ``config.latency`` of them.  There is no handshake: the pipeline around it has one.

    A mid-rise step is a sum of signs, ``2 u - L = sum 2**j (2 b_j - 1)`` with u's bits b_j: each
    bit plane is a sum of ``+q`` and ``-q``.  Two lanes together are plus or minus their sum or
    their difference, which stay as long as the query, so that a tree has half the adders.

    Members
    -------
    advance : :py:`In(1)`
    pairs : :py:`In(ArrayLayout(StructLayout({"sum": ..., "difference": ...}), lanes // 2))`
        Query codes of lanes 2 i and 2 i + 1, added and subtracted.
    codes : :py:`In(ArrayLayout(unsigned(code_bits), lanes))`
    magnitude : :py:`Out(signed(config.sum_bits))`
        The sum, or its negative.
    negative : :py:`Out(1)`
        Whether it is the negative.
    """

    def __init__(self, config: SignDotConfig):
        self.config = config
        super().__init__({
            "advance": In(1),
            "pairs": In(data.ArrayLayout(pair_layout(config), config.pairs)),
            "codes": In(data.ArrayLayout(unsigned(config.code_bits), config.lanes)),
            "magnitude": Out(signed(config.sum_bits)),
            "negative": Out(1),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        bits = [Value.cast(code) for code in self.codes]
        planes = []
        for plane in range(config.code_bits):
            terms = []
            for n, pair in enumerate(self.pairs):
                first, second = bits[2 * n][plane], bits[2 * n + 1][plane]
                terms.append((Mux(first ^ second, pair.difference, pair.sum), ~first))
            planes.append(terms)
        level = 0
        while len(planes[0]) > 1:
            planes = [self.add_pairs(terms) for terms in planes]
            level += 1
            if level % config.levels_per_stage == 0 or len(planes[0]) == 1:
                planes = [self.register(m, terms, f"plane_{plane}_{level}")
                          for plane, terms in enumerate(planes)]
        total = planes[-1][0]
        for (lower,) in planes[-2::-1]:
            total = add((Cat(C(0, 1), total[0]).as_signed(), total[1]), lower)
        with m.If(self.advance):
            m.d.sync += [self.magnitude.eq(total[0]), self.negative.eq(total[1])]
        return m

    @staticmethod
    def add_pairs(terms):
        """Add neighbours; an odd last term passes through."""
        return [add(a, b) for a, b in zip(terms[0::2], terms[1::2])] + terms[len(terms) & ~1:]

    def register(self, m, terms, name):
        """Return terms one step later."""
        held = []
        for n, (value, negative) in enumerate(terms):
            held.append((Signal(value.shape(), name=f"{name}_{n}", reset_less=True),
                         Signal(name=f"{name}_{n}_negative", reset_less=True)))
            with m.If(self.advance):
                m.d.sync += [held[n][0].eq(value), held[n][1].eq(negative)]
        return held
