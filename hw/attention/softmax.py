# SPDX-License-Identifier: Apache-2.0
"""Integer softmax in two passes over a score buffer, and the codes that weigh the value rows."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.softmax_config import KV_EXPONENT_BITS, SoftmaxConfig
from hw.attention.log_score import LogScore, kv_parts, later
from hw.attention.value_weight import ValueWeight
from hw.emit import once
from hw.quant.scale_lanes import SMALL_FLOAT, ScaleLanes

__all__ = ["Softmax", "total_layout"]


def total_layout(config):
    """Payload of ``o_total``: what a pass leaves for its scales.

    Of each head the largest value weight and the sum of softmax weights, and the largest biased
    exponent of its value rows.
    """
    return data.StructLayout({
        "peaks": data.ArrayLayout(unsigned(WORD_BITS), config.queries),
        "totals": data.ArrayLayout(unsigned(config.total_bits), config.queries),
        "exponent": KV_EXPONENT_BITS,
    })


class Softmax(wiring.Component):
    """Codes ``c_t`` of the rows of a pass, from their scores, for ``config.queries`` heads at once.

    A pass goes through three stages of one row a cycle, each over a bank of its own, so that three
    passes are in work if there are as many banks.  Log scores are stored and their maximum taken;
    softmax weights and value weights replace them, and their sum and maximum are taken; value
    weights become codes once ``i_ratio`` is there.
    :mod:`golden_model.attention.softmax_cycles` gives the cycles.

    ``i.ready`` is low until ``i_unit`` is there and a bank is free; it does not depend on ``o``
    otherwise.  ``i_ratio.ready`` depends combinationally on ``o.ready``.

    Members
    -------
    i_unit : :py:`In(stream.Signature(ArrayLayout(SMALL_FLOAT, queries)))`
        Real unit of a score at a row scale of one, in log2 units: one a pass, taken with its end.
    i : :py:`In(stream.Signature(StructLayout({"sums": ..., "scale": 16, "value_scale": 16, ...})))`
        Scores, as :class:`hw.attention.score.Score` gives them.
    o_total : :py:`Out(stream.Signature(total_layout(config)))`
        One a pass.
    i_ratio : :py:`In(stream.Signature(ArrayLayout(SMALL_FLOAT, queries)))`
        Codes to a unit of value weight: one a pass, taken with its last row.
    o : :py:`Out(stream.Signature(StructLayout({"codes": unsigned(weight_bits)[queries]})))`
        One a row.
    """

    def __init__(self, config: SoftmaxConfig):
        self.config = config
        scales = stream.Signature(data.ArrayLayout(SMALL_FLOAT, config.queries))
        super().__init__({
            "i_unit": In(scales),
            "i": In(stream.Signature(data.StructLayout({
                "sums": data.ArrayLayout(signed(config.sum_bits), config.queries),
                "scale": 16, "value_scale": 16, "last": 1}))),
            "o_total": Out(stream.Signature(total_layout(config))),
            "i_ratio": In(scales),
            "o": Out(stream.Signature(data.StructLayout({
                "codes": data.ArrayLayout(unsigned(config.weight_bits), config.queries)}))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        entry = data.StructLayout({"words": data.ArrayLayout(WORD_BITS, config.queries),
                                   "scale": 16})
        self.row = range(config.max_rows)
        banks = [memory.Memory(shape=entry, depth=config.max_rows, init=[])
                 for _ in range(config.banks)]
        self.write, self.read = [], []
        for n, bank in enumerate(banks):
            m.submodules[f"bank_{n}"] = bank
            self.write.append(bank.write_port())
            self.read.append(bank.read_port())
            m.d.comb += self.read[-1].en.eq(0)
        self.largest = [[Signal(signed(WORD_BITS), name=f"largest_{n}_{q}")
                         for q in range(config.queries)] for n in range(config.banks)]
        self.exponent = [Signal(KV_EXPONENT_BITS, name=f"exponent_{n}")
                         for n in range(config.banks)]
        self.last_row = [Signal(self.row, name=f"last_row_{n}") for n in range(config.banks)]
        released = Signal()
        scored = self.store(m, platform, released)
        self.weigh(m, platform, scored)
        self.encode(m, platform, released)
        return m

    def after(self, bank):
        """Return the bank that comes next."""
        return Mux(bank == self.config.banks - 1, 0, bank + 1)

    def store(self, m, platform, released):
        """First stage; return the strobe of a pass that is stored."""
        config = self.config
        free = Signal(range(config.banks + 1), init=config.banks)
        accepted = self.i.valid & self.i.ready
        m.d.comb += [self.i.ready.eq((free != 0) & self.i_unit.valid),
                     self.i_unit.ready.eq(accepted & self.i.p.last)]
        m.d.sync += free.eq(free - self.i_unit.ready + released)

        ahead = config.log_score.latency
        valid = later(m, accepted, ahead, "stored", reset_less=False)
        last = later(m, self.i.p.last, ahead, "stored_last")
        scale = later(m, self.i.p.value_scale, ahead, "stored_scale")
        _, exponent = kv_parts(scale)
        bank, row, first = Signal(range(config.banks)), Signal(self.row), Signal(init=1)
        words = []
        for q in range(config.queries):
            m.submodules[f"log_score_{q}"] = score = once(platform, LogScore, config.log_score)
            m.d.comb += [score.sum.eq(self.i.p.sums[q]), score.unit.eq(self.i_unit.p[q]),
                         score.scale.eq(self.i.p.scale)]
            words.append(score.z)
        with m.If(valid):
            m.d.sync += [row.eq(Mux(last, 0, row + 1)), first.eq(last)]
            with m.If(last):
                m.d.sync += bank.eq(self.after(bank))
        for n, write in enumerate(self.write):
            with m.If(valid & (bank == n)):
                m.d.comb += [write.en.eq(1), write.addr.eq(row), write.data.scale.eq(scale),
                             *(to.eq(z) for to, z in zip(write.data.words, words))]
                m.d.sync += self.last_row[n].eq(row)
                for largest, z in zip(self.largest[n], words):
                    with m.If(first | (z > largest)):
                        m.d.sync += largest.eq(z)
                # A scale of zero has the least exponent there is.
                with m.If(first | (exponent > self.exponent[n])):
                    m.d.sync += self.exponent[n].eq(exponent)
        return valid & last

    def weigh(self, m, platform, scored):
        """Second stage: weights take the places of scores."""
        config = self.config
        m.submodules.totals = totals = fifo.SyncFIFO(width=total_layout(config).size, depth=2)
        waiting, owed = Signal(range(config.banks + 1)), Signal(range(3))
        running, bank, row = Signal(), Signal(range(config.banks)), Signal(self.row)
        last = row == Array(self.last_row)[bank]
        begin = (waiting != 0) & (owed != 2) & (~running | last)
        given = self.o_total.valid & self.o_total.ready
        m.d.sync += [waiting.eq(waiting + scored - begin), owed.eq(owed + begin - given)]
        with m.If(running):
            m.d.sync += row.eq(row + 1)
            with m.If(last):
                m.d.sync += [row.eq(0), bank.eq(self.after(bank))]
        with m.If(~running | last):
            m.d.sync += running.eq(begin)

        for n, read in enumerate(self.read):
            with m.If(running & (bank == n)):
                m.d.comb += [read.addr.eq(row), read.en.eq(1)]
        valid, ends, from_bank = (later(m, value, 1, name, reset_less=False) for value, name in (
            (running, "weigh"), (last, "weigh_last"), (bank, "weigh_bank")))
        entry = Array([read.data for read in self.read])[from_bank]
        ahead, middle = config.value_weight.latency, config.value_weight.weight_latency
        first = Signal(init=1)
        done, done_last, done_bank = (later(m, value, ahead, name, reset_less=False)
                                      for value, name in ((valid, "done"), (ends, "done_last"),
                                                          (from_bank, "done_bank")))
        done_row = Signal(self.row)
        exponent = Array(self.exponent)[from_bank]
        total = Signal(total_layout(config))
        m.d.comb += [total.exponent.eq(Array(self.exponent)[done_bank]),
                     totals.w_data.eq(total), totals.w_en.eq(done & done_last)]
        with m.If(done):
            m.d.sync += [first.eq(done_last), done_row.eq(Mux(done_last, 0, done_row + 1))]
        for q in range(config.queries):
            m.submodules[f"weight_{q}"] = weight = once(platform, ValueWeight, config.value_weight)
            largest = Array([values[q] for values in self.largest])[from_bank]
            m.d.comb += [weight.z.eq(entry.words[q]), weight.largest.eq(largest),
                         weight.scale.eq(entry.scale), weight.exponent.eq(exponent)]
            p = later(m, weight.p, ahead - middle, f"p_{q}")
            so_far, most = Signal(config.total_bits), Signal(WORD_BITS)
            m.d.comb += [total.totals[q].eq(Mux(first, 0, so_far) + p),
                         total.peaks[q].eq(Mux(first | (weight.w > most), weight.w, most))]
            with m.If(done):
                m.d.sync += [so_far.eq(total.totals[q]), most.eq(total.peaks[q])]
            for n, write in enumerate(self.write):
                with m.If(done & (done_bank == n)):
                    m.d.comb += [write.en.eq(1), write.addr.eq(done_row),
                                 write.data.words[q].eq(weight.w)]
        m.d.comb += [self.o_total.valid.eq(totals.r_rdy), totals.r_en.eq(given),
                     self.o_total.p.eq(totals.r_data)]

    def encode(self, m, platform, released):
        """Third stage: codes, as the value rows take them."""
        config = self.config
        lanes = [once(platform, ScaleLanes, config.code) for _ in range(config.queries)]
        bank, row, loaded, loaded_last = (
            Signal(range(config.banks)), Signal(self.row), Signal(), Signal())
        from_bank = Signal(range(config.banks))
        taken = loaded & lanes[0].i.ready
        last = row == Array(self.last_row)[bank]
        # The ratio changes with the row behind the last, which is not read before.
        fetch = self.i_ratio.valid & (~loaded | (taken & ~loaded_last))
        m.d.comb += [released.eq(fetch & last), self.i_ratio.ready.eq(taken & loaded_last)]
        with m.If(fetch):
            m.d.sync += [loaded.eq(1), loaded_last.eq(last), from_bank.eq(bank),
                         row.eq(Mux(last, 0, row + 1))]
            with m.If(last):
                m.d.sync += bank.eq(self.after(bank))
        with m.Elif(taken):
            m.d.sync += loaded.eq(0)
        for n, read in enumerate(self.read):
            with m.If(fetch & (bank == n)):
                m.d.comb += [read.addr.eq(row), read.en.eq(1)]
        entry = Array([read.data for read in self.read])[from_bank]
        m.d.comb += self.o.valid.eq(lanes[0].o.valid)
        for q, lane in enumerate(lanes):
            m.submodules[f"code_{q}"] = lane
            m.d.comb += [lane.i.valid.eq(loaded), lane.i.p.y[0].eq(entry.words[q]),
                         lane.i.p.scale.eq(self.i_ratio.p[q]), lane.o.ready.eq(self.o.ready),
                         self.o.p.codes[q].eq(lane.o.p[0])]
