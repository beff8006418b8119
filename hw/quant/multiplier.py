# SPDX-License-Identifier: Apache-2.0
"""Signed multiplier out of adder rows, for targets whose DSP blocks are not to be used."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.quant_config import MultiplierConfig
from hw.delay import later, register

__all__ = ["Multiplier"]

_DSP_BITS = 18
"""Bits of an operand of a DSP block, the sign among them."""


class Multiplier(wiring.Component):
    """``a * b`` of signed operands: one product for each cycle in which `advance` is set.

    The operands that are present in such a cycle appear on `product` after ``config.latency`` of
    them; all else stands still.  There is no handshake: the pipeline around it has one.

    The ``booth`` form recodes `b` into radix-4 digits -2..2.  A row adds a multiple of `a` to the
    running sum; selecting the multiple takes the five inputs that a LUT6 has left beside the sum's
    bit, so that a row is one LUT6 and one carry cell a bit.

    Members
    -------
    advance : :py:`In(1)`
    a : :py:`In(signed(a_bits))`
    b : :py:`In(signed(b_bits))`
    product : :py:`Out(signed(a_bits + b_bits))`
    """

    def __init__(self, config: MultiplierConfig):
        self.config = config
        super().__init__({
            "advance": In(1),
            "a": In(signed(config.a_bits)),
            "b": In(signed(config.b_bits)),
            "product": Out(signed(config.a_bits + config.b_bits)),
        })

    def elaborate(self, platform):
        m = Module()
        rows = self.booth if self.config.form == "booth" else self.inferred
        m.d.comb += self.product.eq(rows(m))
        return m

    def inferred(self, m):
        """Return the sum of products that fit DSP blocks.

        Blocks are far from what they work with, so registers are first of all where products leave
        them, then where operands enter.
        """
        stages = self.config.latency
        a, b = (later(m, side, int(stages > 2), name, advance=self.advance)
                for name, side in (("a", self.a), ("b", self.b)))
        total = C(0, 1)
        for row, (below, part) in enumerate(self.parts(b)):
            for column, (left, other) in enumerate(self.parts(a)):
                one = later(m, other * part, int(stages > 1), f"part_{row}_{column}",
                            advance=self.advance)
                total = total + (one << below + left)
        total = total[:len(self.product)]
        return later(m, total, max(1, stages - 2), "product", advance=self.advance)

    @staticmethod
    def parts(value):
        """Return parts of a signed value that a DSP block takes, each with its lowest place."""
        places = range(0, max(1, len(value) - 1), _DSP_BITS - 1)
        return [(place, Cat(value[place:place + _DSP_BITS - 1], C(0, 1)).as_signed())
                for place in places[:-1]] + [(places[-1], value[places[-1]:].as_signed())]

    def booth(self, m):
        """Return the product of radix-4 rows, the lowest digit of `b` first."""
        config = self.config
        a, high, low = self.a, C(0, signed(config.a_bits)), C(0, 0)
        digits = Cat(C(0, 1), self.b, self.b[-1])[:2 * config.rows + 1]
        for row in range(config.rows):
            b0, b1, b2 = digits[:3]
            once, twice = b0 ^ b1, Mux(b2, ~(b0 | b1), b0 & b1)
            multiple = Mux(once, Cat(a, a[-1]), 0) | Mux(twice, Cat(C(0, 1), a), 0)
            term = multiple[:config.a_bits + 1] ^ b2.replicate(config.a_bits + 1)
            # A complement lacks one: it enters through a column below the lowest.
            total = Cat(C(1, 1), high).as_signed() + Cat(b2, term).as_signed()
            total = total[1:config.a_bits + 3]
            low, high, digits = Cat(low, total[:2]), total[2:].as_signed(), digits[2:]
            if row == config.rows - 1 or row % config.rows_per_stage == config.rows_per_stage - 1:
                low = register(m, low, f"low_{row}", advance=self.advance)
                high = register(m, high, f"high_{row}", advance=self.advance)
                if row < config.rows - 1:
                    a = register(m, a, f"a_{row}", advance=self.advance)
                    digits = register(m, digits, f"digits_{row}", advance=self.advance)
        return Cat(low, high)[:len(self.product)]
