# SPDX-License-Identifier: Apache-2.0
"""Three ternary products to one: logits of weights that have three trits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.head_config import PLANES, PlaneSumConfig
from hw.head.argmax import logit_layout

__all__ = ["PlaneSum"]


class PlaneSum(wiring.Component):
    """``9 * s2 + 3 * s1 + s0`` of three beats of sums, one logit a cycle.

    The array multiplies each block of rows by its three planes in turn, the top one first, so that
    a block's logits follow its third beat, and no plane's sums are kept for longer than a block.
    The first logit comes ``config.latency`` cycles after the third beat.  A block is taken in while
    the one before is sent; the array is held up only if ``config.rows`` logits take longer than its
    three beats.  ``i.ready`` depends on registers only.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"vocab": ...})))`
        Logits, at least 1: sums of rows past it are dropped.  Accepted with the last logit.
    i : :py:`In(stream.Signature(ArrayLayout(signed(config.sum_bits), config.rows)))`
    o : :py:`Out(stream.Signature(logit_layout(config.argmax)))`
    """

    def __init__(self, config: PlaneSumConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "vocab": range(config.max_vocab + 1),
            }))),
            "i": In(stream.Signature(data.ArrayLayout(signed(config.sum_bits), config.rows))),
            "o": Out(stream.Signature(logit_layout(config.argmax))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        plane, full = Signal(range(PLANES)), Signal()
        logits = data.ArrayLayout(signed(config.logit_bits), config.rows)
        sums, queue = Signal(logits), Signal(logits)
        waiting = Signal(range(config.rows + 1))   # logits in the queue
        sent = Signal(range(config.max_vocab + 1))

        m.d.comb += self.i.ready.eq(~full)
        with m.If(self.i.valid & self.i.ready):
            for total, addend in zip(sums, self.i.p, strict=True):
                carried = Mux(plane == 0, 0, total)
                m.d.sync += total.eq((carried << 1) + carried + addend)
            m.d.sync += plane.eq(plane + 1)
            with m.If(plane == PLANES - 1):
                m.d.sync += [plane.eq(0), full.eq(1)]

        accepted = self.o.valid & self.o.ready
        m.d.comb += [
            self.o.valid.eq((waiting != 0) & self.i_command.valid),
            self.o.p.logit.eq(queue[0]),
            self.o.p.last.eq(sent + 1 == self.i_command.p.vocab),
            self.i_command.ready.eq(accepted & self.o.p.last),
        ]
        with m.If(accepted):
            m.d.sync += [waiting.eq(waiting - 1), sent.eq(sent + 1),
                         Cat(queue[row] for row in range(config.rows - 1)).eq(
                             Cat(queue[row] for row in range(1, config.rows)))]
            with m.If(self.o.p.last):
                m.d.sync += [waiting.eq(0), sent.eq(0)]
        with m.If(full & ((waiting == 0) | accepted & ((waiting == 1) | self.o.p.last))):
            m.d.sync += [queue.eq(sums), waiting.eq(config.rows), full.eq(0)]
        return m
