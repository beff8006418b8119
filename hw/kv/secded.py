# SPDX-License-Identifier: Apache-2.0
"""Protection of memory words: one flipped bit of a part is corrected, two are detected."""

from functools import reduce
from operator import xor

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model.memory_config import SecdedConfig

__all__ = ["SecdedDecoder", "encode", "protected"]


def parity(bits):
    """Exclusive or of a list of bits."""
    return reduce(xor, bits, C(0, 1))


def check_bits(config: SecdedConfig, word):
    """Return the check bits of `word`, lowest first."""
    return Cat(parity([word[bit] for bit, column in enumerate(config.columns) if column >> row & 1])
               for row in range(config.check_bits))


def encode(width, word):
    """Return `word` of `width` bits as it is stored: each part, followed by its check bits."""
    stored, start = [], 0
    for part in SecdedConfig.parts(width):
        data = word[start:start + part.data_bits]
        stored += [data, check_bits(part, data)]
        start += part.data_bits
    return Cat(stored)


def protected(width):
    """Bits of a stored word of `width` data bits."""
    return sum(part.word_bits for part in SecdedConfig.parts(width))


class SecdedDecoder(wiring.Component):
    """A stored word, as it should be; combinational.

    Members
    -------
    i : :py:`In(protected(width))`
        What `encode` gives, with flipped bits.
    o : :py:`Out(width)`
        The word, if `uncorrectable` is low.
    corrected : :py:`Out(1)`
        Some part had one flipped bit, perhaps of its check bits.
    uncorrectable : :py:`Out(1)`
        Some part had two.
    """

    def __init__(self, width):
        self.width = width
        super().__init__({"i": In(protected(width)), "o": Out(width), "corrected": Out(1),
                          "uncorrectable": Out(1)})

    def elaborate(self, platform):
        m = Module()
        start, words, single, double = 0, [], [], []
        for number, part in enumerate(SecdedConfig.parts(self.width)):
            data = self.i[start:start + part.data_bits]
            stored = self.i[start + part.data_bits:start + part.word_bits]
            start += part.word_bits
            syndrome = Signal(part.check_bits, name=f"syndrome_{number}")
            m.d.comb += syndrome.eq(check_bits(part, data) ^ stored)
            flips = Cat(syndrome == column for column in part.columns)
            known = flips.any() | parity_of_one(syndrome)
            words.append(data ^ flips)
            single.append(known)
            double.append((syndrome != 0) & ~known)
        m.d.comb += [self.o.eq(Cat(words)), self.corrected.eq(Cat(single).any()),
                     self.uncorrectable.eq(Cat(double).any())]
        return m


def parity_of_one(syndrome):
    """Whether exactly one bit is set: the flipped bit is a check bit."""
    return Cat(syndrome == 1 << row for row in range(len(syndrome))).any()
