# SPDX-License-Identifier: Apache-2.0
"""Tiles of codes to the words that the array's storage takes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import DIGIT_WEIGHT_BITS, ArrayConfig
from hw.mac import layouts

__all__ = ["DigitWords"]

_CODE_BITS = 8


class DigitWords(wiring.Component):
    """One word of a tile of short codes, two of INT8 codes: a word a cycle, without delay.

    The high digit of an INT8 code is a signed nibble, the low one an unsigned one.  ``i.ready``
    depends combinationally on ``o.ready``.

    Members
    -------
    two : :py:`In(1)`
        The codes have two digits; steady from the cycle ahead of a tile's offer on.
    i : :py:`In(stream.Signature(ArrayLayout(signed(8), lanes)))`
    o : :py:`Out(stream.Signature(hw.mac.layouts.word(config)))`
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__({
            "two": In(1),
            "i": In(stream.Signature(data.ArrayLayout(signed(_CODE_BITS), config.lanes))),
            "o": Out(stream.Signature(layouts.word(config))),
        })

    def elaborate(self, platform):
        m = Module()
        # Whether a tile ends has a register beside the one that chooses digits, of many loads.
        low, following, ends = Signal(), Signal(), Signal(init=1)
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready & ends),
                     following.eq(Mux(self.o.valid & self.o.ready, self.two & ~low, low))]
        m.d.sync += [low.eq(following), ends.eq(following | ~self.two)]
        for digit, code in zip(self.o.p, self.i.p):
            high = code >> DIGIT_WEIGHT_BITS
            m.d.comb += digit.eq(Mux(self.two, Mux(low, code[:DIGIT_WEIGHT_BITS], high), code))
        return m
