# SPDX-License-Identifier: Apache-2.0
"""Threshold of the K largest of up to thousands of magnitudes, from histograms taken on the fly."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.sparse_config import CODE_PEAK, SelectorConfig

__all__ = ["HistogramSelect", "magnitudes_layout", "threshold_layout"]

_LOW_BITS = 4
_TOP_BIN = CODE_PEAK >> _LOW_BITS


def magnitudes_layout(config: SelectorConfig):
    """Payload of one beat: magnitudes, which lanes hold one, how many to keep, whether it ends."""
    return data.StructLayout({
        "magnitudes": data.ArrayLayout(range(CODE_PEAK + 1), config.lanes),
        "present": config.lanes,
        "keep": range(config.max_n + 1),
        "last": 1,
    })


def threshold_layout(config: SelectorConfig):
    """Payload of a result: keep what lies above, and the first ``spare + 1`` that equal it."""
    return data.StructLayout({
        "threshold": range(CODE_PEAK + 1),
        "spare": signed(config.max_n.bit_length() + 1),
    })


class _Histogram(wiring.Component):
    """Counters in a memory, at one operation a cycle.

    Whatever the operation, `count` is the counter at `address` one cycle later.  An increment is
    written in that cycle, so the next cycle's operation on the same counter takes it from `last`;
    `count` itself lacks it.
    """

    def __init__(self, depth, bits):
        self.depth = depth
        super().__init__({
            "address": In(range(depth)), "increment": In(1), "clear": In(1), "count": Out(bits),
        })

    def elaborate(self, platform):
        m = Module()
        # Deep enough for a block RAM, which beats the LUTs of distributed memory.
        style = {"ram_style": "block"} if self.depth >= CODE_PEAK else {}
        m.submodules.memory = cells = memory.Memory(shape=self.count.shape(), depth=self.depth,
                                                    init=[], attrs=style)
        write, read = cells.write_port(), cells.read_port()
        held, changed, cleared = Signal.like(self.address), Signal(), Signal()
        again, last = Signal(), Signal.like(self.count, reset_less=True)
        before = Mux(again, last, read.data) & (~cleared).replicate(len(last))
        m.d.comb += [
            read.addr.eq(self.address),
            self.count.eq(read.data),
            write.en.eq(changed),
            write.addr.eq(held),
            write.data.eq(before + ~cleared),
        ]
        m.d.sync += [
            held.eq(self.address),
            changed.eq(self.increment | self.clear),
            cleared.eq(self.clear),
            again.eq(changed & (held == self.address)),
            last.eq(write.data),
        ]
        return m


class HistogramSelect(wiring.Component):
    """Search for the K-th largest magnitude of a segment: a beat a cycle, one result a segment.

    Each lane counts its magnitudes in a coarse histogram of nine bins of sixteen values and a fine
    one of all values below 128.  128 is a coarse bin by itself; the fine histogram takes it for 0,
    whose count is never needed: the threshold is 0 if it is nothing above.

    After the last beat the lanes' counts are summed from the top down: nine coarse bins, then the
    sixteen values of the bin that holds the threshold.  The result follows the last beat by
    ``config.histogram_latency`` cycles, whatever the magnitudes are; the next segment may start
    ``config.histogram_clear`` cycles after it is taken (and as long after reset).

    Members
    -------
    i : :py:`In(stream.Signature(magnitudes_layout(config)))`
        Beats of a segment; `keep` must be steady up to the result.  More than there are keeps all.
    o : :py:`Out(stream.Signature(threshold_layout(config)))`
        `spare` is -1 if nothing that equals the threshold is kept.
    """

    def __init__(self, config: SelectorConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(magnitudes_layout(config))),
            "o": Out(stream.Signature(threshold_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        count_bits = config.max_beats.bit_length()
        load = Signal()
        clear = Signal()
        step, steps_left = Signal(_LOW_BITS, init=(1 << _LOW_BITS) - 1), Signal()
        fine_scan = Signal()
        found_bin = Signal(range(_TOP_BIN + 1))

        counts = []
        for n, (magnitude, present) in enumerate(zip(self.i.p.magnitudes, self.i.p.present)):
            m.submodules[f"coarse_{n}"] = coarse = _Histogram(1 << _LOW_BITS, count_bits)
            m.submodules[f"fine_{n}"] = fine = _Histogram(CODE_PEAK, count_bits)
            m.d.comb += [
                coarse.address.eq(Mux(load, magnitude[_LOW_BITS:], step)),
                coarse.clear.eq(clear),
                coarse.increment.eq(self.i.valid & load & present),
                fine.address.eq(Mux(load, magnitude[:-1], Cat(step, found_bin[:-1]))),
                fine.clear.eq(clear),
                fine.increment.eq(coarse.increment),
            ]
            counts.append(Mux(fine_scan, fine.count, coarse.count))
        total = Signal(range(config.max_beats * config.lanes + 1), reset_less=True)
        m.d.sync += total.eq(sum(counts))

        # What is being compared lags two cycles behind the address.
        lag = [(step, steps_left)]
        for n in range(2):
            now = Signal.like(step, name=f"step_{n}"), Signal(name=f"active_{n}")
            m.d.sync += [signal.eq(value) for signal, value in zip(now, lag[-1])]
            lag.append(now)
        compared, active = lag[-1]

        spare = Signal.like(self.o.p.spare)
        found, low_found = Signal(), Signal(_LOW_BITS)
        less = Signal(signed(len(spare) + 1))
        m.d.comb += [
            less.eq(spare - total),
            self.o.p.spare.eq(spare),
            self.o.p.threshold.eq(Cat(low_found, found_bin)),
        ]
        with m.If(active & ~found):
            with m.If(less[-1] | (compared == 0)):
                m.d.sync += found.eq(1)
                with m.If(fine_scan):
                    m.d.sync += low_found.eq(compared)
                with m.Else():
                    m.d.sync += found_bin.eq(compared)
            with m.Else():
                m.d.sync += spare.eq(less)

        m.d.comb += steps_left.eq(0)
        with m.FSM(init="CLEAR"):
            with m.State("LOAD"):
                m.d.comb += [load.eq(1), self.i.ready.eq(1)]
                m.d.sync += [step.eq(_TOP_BIN), found.eq(0), low_found.eq(0), fine_scan.eq(0),
                             spare.eq(self.i.p.keep - 1)]
                with m.If(self.i.valid & self.i.p.last):
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.next = "SCAN"
            with m.State("SCAN"):
                m.d.comb += steps_left.eq(1)
                m.d.sync += step.eq(step - 1)
                with m.If(step == 0):
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                with m.If(active & (compared == 0)):
                    # The top bin holds one value: no fine search.
                    m.d.sync += [fine_scan.eq(1), found.eq(found & (found_bin == _TOP_BIN))]
                    m.next = "RESULT"
                    with m.If(~fine_scan):
                        m.next = "SCAN"
            with m.State("RESULT"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += found_bin.eq(0)
                    m.next = "CLEAR"
            with m.State("CLEAR"):
                # What counts the scan's steps, and is 15 and 0 here, counts the addresses.
                m.d.comb += clear.eq(1)
                m.d.sync += step.eq(step - 1)
                with m.If(step == 0):
                    m.d.sync += found_bin.eq(found_bin + 1)
                    with m.If(found_bin == (CODE_PEAK >> _LOW_BITS) - 1):
                        m.next = "LOAD"

        return m
