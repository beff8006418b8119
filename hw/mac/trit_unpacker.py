# SPDX-License-Identifier: Apache-2.0
"""Packed weights in, trits out."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import TRITS_PER_BYTE, UnpackerConfig
from hw.delay import vacant
from hw.emit import once

__all__ = ["TritUnpacker"]


def trit(digit):
    """Two's complement of ``digit - 1``, on two bits."""
    return digit - 1 & 3


def table(index, bits, function):
    """Return ``function(index)``, a table for each of its bits."""
    entries = [function(n) for n in range(1 << len(index))]
    words = [sum((entry >> bit & 1) << n for n, entry in enumerate(entries))
             for bit in range(bits)]
    return Cat((C(word, len(entries)) >> index)[0] for word in words)


class _ByteDecoder(wiring.Component):
    """Five base-3 digits of a byte, as trits, a cycle late if ``en``.

    Long division by 9 whose steps fit six inputs: the upper six bits give three bits of the
    quotient and a remainder of 0..8; that with the lower two bits gives the rest of the quotient
    and the two low digits; the quotient of 0..28 gives the three high digits.  A byte
    of 243..255 has the trits of what it exceeds 243 by.  The register stands after the first step,
    where it also keeps synthesis from merging the steps into wide functions, which take twice the
    LUTs; with `raw` it holds the byte, for one that comes late in its cycle.
    """

    i: In(8)
    en: In(1)
    o: Out(data.ArrayLayout(signed(2), TRITS_PER_BYTE))

    def __init__(self, raw=False):
        self.raw = raw
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        now = (Signal(2, name="low", reset_less=True), Signal(3, name="quotient", reset_less=True),
               Signal(4, name="remainder", reset_less=True))
        low, quotient, remainder = now
        byte = Signal(8, reset_less=True) if self.raw else self.i
        found = Cat(byte[:2], table(byte[2:], 7, lambda v: v // 9 | v % 9 << 3))
        if self.raw:
            m.d.comb += Cat(now).eq(found)
        with m.If(self.en):
            m.d.sync += byte.eq(self.i) if self.raw else Cat(now).eq(found)
        step = table(Cat(low, remainder), 6, lambda v: (
            v // 9 & 3 | trit(v % 3) << 2 | trit(v // 3 % 3) << 4))
        high = table(Cat(step[:2], quotient), 6, lambda q: (
            trit(q % 3) | trit(q // 3 % 3) << 2 | trit(q // 9 % 3) << 4))
        m.d.comb += self.o.eq(Cat(step[2:], high))
        return m


class TritUnpacker(wiring.Component):
    """Trits of packed beats: one beat a cycle, one cycle late.

    ``i.ready`` depends combinationally on ``o.ready``; a beat stays on ``o`` until it is accepted,
    so whoever needs it for several cycles just accepts it late.  With `raw`, decoding comes after
    the register and not ahead of it, which takes a quarter more LUTs.

    Members
    -------
    i : :py:`In(stream.Signature(config.packed_bits))`
        ``2bit``: trit n is bits 2n and 2n + 1, two's complement (the spare code comes out as -2).
        ``base3``: trits 5n to 5n + 4 are byte n, ``sum (t_j + 1) * 3**j``, the first trit least
        significant.  Bytes 243..255 stand for nothing and give the trits of 243 less.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(2), config.trits)))`
        Trits in order; spare ones of the last byte are dropped.
    """

    def __init__(self, config: UnpackerConfig, *, raw: bool = False):
        self.config, self.raw = config, raw
        super().__init__({
            "i": In(stream.Signature(config.packed_bits)),
            "o": Out(stream.Signature(data.ArrayLayout(signed(2), config.trits))),
        })

    def elaborate(self, platform):
        m = Module()
        advance = ~self.o.valid | self.o.ready
        with m.If(advance):
            m.d.sync += self.o.valid.eq(self.i.valid)
        m.d.comb += self.i.ready.eq(vacant(m, self.i.valid, "vacant", advance=advance)
                                    | self.o.ready)
        trits = Value.cast(self.o.payload)
        if self.config.packing == "2bit":
            held = Signal.like(trits, reset_less=True)
            with m.If(advance):
                m.d.sync += held.eq(self.i.payload)
            m.d.comb += trits.eq(held)
        else:
            decoders = [once(platform, _ByteDecoder, self.raw)
                        for _ in range(self.config.packed_bits // 8)]
            for n, decoder in enumerate(decoders):
                m.submodules[f"byte_{n}"] = decoder
                m.d.comb += [
                    decoder.i.eq(self.i.payload.word_select(n, 8)),
                    decoder.en.eq(advance),
                ]
            m.d.comb += trits.eq(Cat(decoder.o for decoder in decoders))
        return m
