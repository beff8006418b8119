# SPDX-License-Identifier: Apache-2.0
"""Squarer out of adder rows, each shorter than the one before."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.vector_config import Relu2GluConfig
from hw.delay import later, register

__all__ = ["Squarer"]


class Squarer(wiring.Component):
    """``x * x`` of an unsigned operand: one square for each cycle in which `advance` is set.

    The operand that is present in such a cycle appears as `square` after ``config.squarer_latency``
    of them; all else stands still.

    The ``booth`` form folds what is symmetric.  With the lowest radix-4 digit d of -2..2 split off,
    ``x**2 = (4 * y + d)**2 = 16 * y**2 + d * (8 * y + d)``: a row adds the last term and leaves to
    the rows after it two bits less of operand, so that all take about 3/5 of the LUTs of
    :class:`hw.quant.multiplier.Multiplier`.

    Members
    -------
    advance : :py:`In(1)`
    x : :py:`In(unsigned(relu_bits))`
    square : :py:`Out(unsigned(2 * relu_bits))`
    """

    def __init__(self, config: Relu2GluConfig):
        self.config = config
        super().__init__({
            "advance": In(1),
            "x": In(config.relu_bits),
            "square": Out(2 * config.relu_bits),
        })

    def elaborate(self, platform):
        m = Module()
        rows = self.booth if self.config.form == "booth" else self.inferred
        m.d.comb += self.square.eq(rows(m))
        return m

    def inferred(self, m):
        """Return a square whose registers the synthesiser may move into DSP blocks."""
        return later(m, self.x * self.x, self.config.squarer_latency, "square",
                     advance=self.advance)

    def term(self, digit, rest):
        """Return ``d * (8 * y + d)``, where y is `rest` and the carry that a negative d leaves."""
        b0, b1, b2 = digit
        once, twice = b0 ^ b1, Mux(b2, ~(b0 | b1), b0 & b1)
        negative = b2 & ~(b0 & b1)
        # 8y + 1 and 16y + 4; -8y - 7 and -16y - 12 as complements of 8y + 6 and 16y + 11.
        eight = Cat(Mux(negative, C(6, 3), C(1, 3)), rest)
        sixteen = Cat(Mux(negative, C(11, 4), C(4, 4)), rest)
        multiple = Mux(once, eight, 0) | Mux(twice, sixteen, 0)
        return Cat(multiple ^ negative.replicate(len(multiple)), negative).as_signed()

    def booth(self, m):
        """Return the sum of the rows' terms, the lowest digit of `x` first."""
        config = self.config
        low, high, bits = C(0, 0), C(0, 0), Cat(C(0, 1), self.x, C(0, 2))
        for row in range(config.squarer_rows):
            rest = bits[3:max(3, config.relu_bits + 1 - 2 * row)]
            total = self.term(bits[:3], rest) + high
            low, high, bits = Cat(low, total[:4]), total[4:].as_signed(), bits[2:]
            if row == config.squarer_rows - 1 or (row + 1) % config.rows_per_stage == 0:
                low = register(m, low, f"low_{row}", advance=self.advance)
                high = register(m, high, f"high_{row}", advance=self.advance)
                bits = register(m, bits, f"bits_{row}", advance=self.advance)
        return Cat(low, high)[:len(self.square)]
