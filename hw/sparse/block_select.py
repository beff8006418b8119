# SPDX-License-Identifier: Apache-2.0
"""Threshold of the K largest of one short block of magnitudes, bit by bit."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.sparse_config import CODE_PEAK, SelectorConfig
from hw.sparse.histogram_select import magnitudes_layout, threshold_layout

__all__ = ["BlockSelect"]


class BlockSelect(wiring.Component):
    """Search for the K-th largest magnitude of a block, the most significant bit first.

    Takes a beat a cycle, then eight cycles, one for each bit of a magnitude: the candidates with
    the bit set are counted; if there are enough of them the threshold has the bit and the others
    drop out, else they lie above it.  The result follows the last beat by
    ``config.bit_serial_latency`` cycles, and the next block is taken from the same cycle on; it
    waits in its last step for the result before it to be taken.

    Members
    -------
    i : :py:`In(stream.Signature(magnitudes_layout(config)))`
        Beats of a block; `keep` must be steady from the first to the last.
    o : :py:`Out(stream.Signature(threshold_layout(config)))`
        As that of :class:`hw.sparse.histogram_select.HistogramSelect`.
    """

    def __init__(self, config: SelectorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(magnitudes_layout(config))),
            "o": Out(stream.Signature(threshold_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        lanes, beats = self.config.lanes, self.config.max_beats
        bits = CODE_PEAK.bit_length()
        beat = Signal(range(beats))
        step = Signal(range(bits), init=bits - 1)
        candidates = Signal(lanes * beats)
        plane = Signal(lanes * beats)
        for n in range(beats):
            for lane in range(lanes):
                held = Signal(bits, name=f"magnitude_{n * lanes + lane}", reset_less=True)
                with m.If(self.i.valid & self.i.ready & (beat == n)):
                    m.d.sync += held.eq(self.i.p.magnitudes[lane])
                m.d.comb += plane[n * lanes + lane].eq((held >> step)[0])

        spare = Signal.like(self.o.p.spare)
        above = Signal(range(lanes * beats + 1))
        less = Signal(signed(len(spare) + 1))
        upper = Signal(bits - 1)
        m.d.comb += [
            above.eq(sum((candidates & plane)[n] for n in range(lanes * beats))),
            less.eq(spare - above),
        ]
        next_spare = Mux(less[-1], spare, less)
        with m.FSM():
            with m.State("LOAD"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += spare.eq(self.i.p.keep - 1)
                with m.If(self.i.valid):
                    for n in range(beats):
                        with m.If(beat == n):
                            m.d.sync += candidates[n * lanes:(n + 1) * lanes].eq(self.i.p.present)
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(self.i.p.last):
                        m.d.sync += beat.eq(0)
                        m.next = "SEARCH"
            with m.State("SEARCH"):
                with m.If((step != 0) | ~self.o.valid | self.o.ready):
                    m.d.sync += [
                        step.eq(step - 1),
                        spare.eq(next_spare),
                        upper.eq(Cat(less[-1], upper)),
                        candidates.eq(candidates & (plane ^ ~less[-1].replicate(len(plane)))),
                    ]
                with m.If((step == 0) & (~self.o.valid | self.o.ready)):
                    m.d.sync += [step.eq(bits - 1), candidates.eq(0)]
                    m.next = "LOAD"

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If((step == 0) & (~self.o.valid | self.o.ready)):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.p.threshold.eq(Cat(less[-1], upper)),
                self.o.p.spare.eq(next_spare),
            ]

        return m
