# SPDX-License-Identifier: Apache-2.0
"""Sums over tiles and digits, one accumulator for each row and token."""

from typing import NamedTuple

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import DIGIT_WEIGHT_BITS, ArrayConfig
from hw.mac import layouts

__all__ = ["Accumulator"]


class _Sets(NamedTuple):
    """Accumulators of one token before and after a beat."""

    read: Value
    write: Value


class Accumulator(wiring.Component):
    """Adds up sums until one with ``last``, and offers the totals a cycle later.

    One beat a cycle.  Only a ``last`` beat needs ``o`` free, so totals may wait on ``o`` as long as
    the next block of rows takes; ``i.ready`` depends combinationally on ``o.ready``.  Totals wrap
    at ``acc_bits``, which the configuration guarantees to hold every sum over ``max_k``.

    With ``config.batch`` above 1, beats of several tokens may alternate: each token has a set of
    accumulators, in a memory of LUTs, which costs little more than one set.  There ``first`` says
    that a set starts from zero; without a batch it does so after ``last``.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"sums": ..., "tag": layouts.beat_tag(config)})))`
        Sums of one tile; those of a high digit count 16-fold.
    o : :py:`Out(stream.Signature(StructLayout({"sums": signed(acc_bits)[rows], "last": 1})))`
        Totals; ``last`` on the last block of a command.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "sums": layouts.sums(config),
                "tag": layouts.beat_tag(config),
            }))),
            "o": Out(stream.Signature(layouts.result(config))),
        })

    def elaborate(self, platform):
        m = Module()
        tag = self.i.p.tag
        totals = Signal.like(self.o.p.sums, reset_less=True)
        sets = self.sets(m) if self.config.batch > 1 else None
        final = Signal()
        m.d.comb += [
            self.i.ready.eq(~tag.last | ~self.o.valid | self.o.ready),
            self.o.p.sums.eq(totals),
            self.o.p.last.eq(final),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.valid & self.i.ready):
            with m.If(tag.last):
                m.d.sync += [self.o.valid.eq(1), final.eq(tag.final)]
            for n in range(self.config.rows):
                acc = Signal(signed(self.config.acc_bits), name=f"acc_{n}")
                part = Signal.like(acc, name=f"part_{n}")
                m.d.comb += part.eq(self.i.p.sums[n])
                if self.config.max_digits > 1:
                    with m.If(tag.high):
                        m.d.comb += part.eq(self.i.p.sums[n] << DIGIT_WEIGHT_BITS)
                total = (acc + part)[:len(acc)]
                if sets:
                    m.d.comb += [acc.eq(Mux(tag.first, 0, sets.read[n])), sets.write[n].eq(total)]
                else:
                    m.d.sync += acc.eq(total)
                with m.If(tag.last):
                    m.d.sync += [*([] if sets else [acc.eq(0)]), totals[n].eq(total)]
        return m

    def sets(self, m):
        """Add the memory of every token's accumulators; return those of the beat on ``i``."""
        shape = data.ArrayLayout(signed(self.config.acc_bits), self.config.rows)
        m.submodules.sets = cells = memory.Memory(shape=shape, depth=self.config.batch, init=[],
                                                  attrs={"ram_style": "distributed"})
        write, read = cells.write_port(), cells.read_port(domain="comb")
        m.d.comb += [
            read.addr.eq(self.i.p.tag.token), write.addr.eq(self.i.p.tag.token),
            write.en.eq(self.i.valid & self.i.ready),
        ]
        return _Sets(read.data, write.data)
