# SPDX-License-Identifier: Apache-2.0
"""Integer softmax in two passes over a score buffer, and the codes that weigh the value rows."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.formats import KV_ZERO_BITS
from golden_model.softmax_config import KV_EXPONENT_BITS, SoftmaxConfig
from hw.attention.log_score import LogScore, kv_parts
from hw.attention.power_table import READERS, PowerTable
from hw.attention.value_weight import ValueWeight
from hw.attention.weighted_sum import weight_layout
from hw.delay import later
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

    A pass goes through three stages, each over a bank of its own, so that three passes are in work
    if there are as many banks.  Log scores are stored and their maximum taken; softmax weights and
    value weights replace them, and their sum and maximum are taken; value weights become codes once
    ``i_ratio`` is there.  The first and the last take a row a cycle, as rows of keys and of values
    come; what is between delays a token's end, so it may take ``config.abreast`` of them.
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
    o : :py:`Out(stream.Signature(weight_layout(config, config.zeros)))`
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
            "o": Out(stream.Signature(weight_layout(config, config.zeros))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        entry = data.StructLayout({"words": data.ArrayLayout(WORD_BITS, config.queries),
                                   "scale": 16})
        self.row = range(config.max_rows)
        # Rows n, n + abreast, ... of a bank lie in its part n.
        self.part_bits = (config.abreast - 1).bit_length()
        self.write, self.read = [], []
        for n in range(config.banks):
            parts = [memory.Memory(shape=entry, depth=-(-config.max_rows // config.abreast),
                                   init=[]) for _ in range(config.abreast)]
            for number, part in enumerate(parts):
                m.submodules[f"bank_{n}" + (f"_{number}" if config.abreast > 1 else "")] = part
            self.write.append([part.write_port() for part in parts])
            self.read.append([part.read_port() for part in parts])
        self.largest = [[Signal(signed(WORD_BITS), name=f"largest_{n}_{q}")
                         for q in range(config.queries)] for n in range(config.banks)]
        self.exponent = [Signal(KV_EXPONENT_BITS, name=f"exponent_{n}")
                         for n in range(config.banks)]
        self.last_row = [Signal(self.row, name=f"last_row_{n}") for n in range(config.banks)]
        released = Signal()
        scored = self.store(m, platform, released)
        self.encode(m, platform, released, *self.weigh(m, platform, scored))
        return m

    def after(self, bank):
        """Return the bank that comes next."""
        return Mux(bank == self.config.banks - 1, 0, bank + 1)

    def split(self, row):
        """Return a row's place in its part, and which part that is."""
        part = row[:self.part_bits]
        return row[self.part_bits:], [part == n for n in range(self.config.abreast)]

    def without_zero(self, scale):
        """Return a row's scale without its zero point, if it has one."""
        return Cat(C(0, KV_ZERO_BITS), scale[KV_ZERO_BITS:]) if self.config.zeros else scale

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
        place, parts = self.split(row)
        for n, writes in enumerate(self.write):
            with m.If(valid & (bank == n)):
                for write, mine in zip(writes, parts):
                    m.d.comb += [write.en.eq(mine), write.addr.eq(place),
                                 write.data.scale.eq(scale),
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
        """Second stage: weights take the places of scores.

        Return whether it reads from each bank, and from which place.
        """
        config = self.config
        m.submodules.totals = totals = fifo.SyncFIFO(width=total_layout(config).size, depth=2)
        waiting, owed = Signal(range(config.banks + 1)), Signal(range(3))
        place = range(-(-config.max_rows // config.abreast))
        running, bank, at = Signal(), Signal(range(config.banks)), Signal(place)
        last_row = Array(self.last_row)[bank]
        last_place, ends_in = self.split(last_row)
        last = at == last_place
        begin = (waiting != 0) & (owed != 2) & (~running | last)
        given = self.o_total.valid & self.o_total.ready
        m.d.sync += [waiting.eq(waiting + scored - begin), owed.eq(owed + begin - given)]
        with m.If(running):
            m.d.sync += at.eq(at + 1)
            with m.If(last):
                m.d.sync += [at.eq(0), bank.eq(self.after(bank))]
        with m.If(~running | last):
            m.d.sync += running.eq(begin)

        weighing = [running & (bank == n) for n in range(config.banks)]
        # Of a pass's last place not every part need hold a row.
        there = Signal(config.abreast)
        m.d.comb += there.eq(Mux(last, Cat(Cat(ends_in[n:]).any()
                                           for n in range(config.abreast)), -1))
        valid, ends, from_bank, there = (
            later(m, value, 1, name, reset_less=False) for value, name in (
                (running, "weigh"), (last, "weigh_last"), (bank, "weigh_bank"),
                (there, "weigh_there")))
        entries = [Array([reads[part].data for reads in self.read])[from_bank]
                   for part in range(config.abreast)]
        ahead = config.value_weight.latency
        done, done_last, done_bank, done_there = (
            later(m, value, ahead, name, reset_less=False) for value, name in (
                (valid, "done"), (ends, "done_last"), (from_bank, "done_bank"),
                (there, "done_there")))
        zeros = [later(m, entry.scale[:KV_ZERO_BITS], ahead, f"zero_{part}")
                 for part, entry in enumerate(entries) if config.zeros]
        done_place = Signal(place)
        exponent = Array(self.exponent)[from_bank]
        with m.If(done):
            m.d.sync += done_place.eq(Mux(done_last, 0, done_place + 1))
        for n, writes in enumerate(self.write):
            with m.If(done & (done_bank == n)):
                m.d.comb += [port.eq(value) for write, mine in zip(writes, done_there)
                             for port, value in ((write.addr, done_place), (write.en, mine))]

                m.d.comb += [write.data.scale.eq(zero) for write, zero in zip(writes, zeros)]

        together = config.weigh_latency - ahead - 1
        total, first = Signal(total_layout(config)), Signal(init=1)
        added, added_last, added_bank = (
            later(m, value, together, name, reset_less=False) for value, name in (
                (done, "added"), (done_last, "added_last"), (done_bank, "added_bank")))
        with m.If(added):
            m.d.sync += first.eq(added_last)
        m.d.comb += [total.exponent.eq(Array(self.exponent)[added_bank]),
                     totals.w_data.eq(total), totals.w_en.eq(added & added_last)]
        weights = []
        for q in range(config.queries):
            largest = Array([values[q] for values in self.largest])[from_bank]
            ps, ws = [], []
            for part, entry in enumerate(entries):
                weight = once(platform, ValueWeight, config.value_weight)
                m.submodules[f"weight_{q}" + (f"_{part}" if config.abreast > 1 else "")] = weight
                m.d.comb += [weight.z.eq(entry.words[q]), weight.largest.eq(largest),
                             weight.scale.eq(self.without_zero(entry.scale)),
                             weight.exponent.eq(exponent)]
                for n, writes in enumerate(self.write):
                    with m.If(done & (done_bank == n)):
                        m.d.comb += writes[part].data.words[q].eq(weight.w)
                p = later(m, weight.p, ahead - config.value_weight.weight_latency, f"p_{q}_{part}")
                weights.append(weight)
                ps.append(Mux(done_there[part], p, 0))
                ws.append(Mux(done_there[part], weight.w, 0))
            while len(ps) > 1:
                ps = [a + b for a, b in zip(ps[::2], ps[1::2])]
                ws = [Mux(a > b, a, b) for a, b in zip(ws[::2], ws[1::2])]
            p, w = later(m, ps[0], together, f"sum_{q}"), later(m, ws[0], together, f"most_{q}")
            so_far, most = Signal(config.total_bits), Signal(WORD_BITS)
            m.d.comb += [total.totals[q].eq(Mux(first, 0, so_far) + p),
                         total.peaks[q].eq(Mux(first | (w > most), w, most))]
            with m.If(added):
                m.d.sync += [so_far.eq(total.totals[q]), most.eq(total.peaks[q])]
        self.share(m, weights)
        m.d.comb += [self.o_total.valid.eq(totals.r_rdy), totals.r_en.eq(given),
                     self.o_total.p.eq(totals.r_data)]
        return weighing, at

    @staticmethod
    def share(m, weights):
        """Let weights read their powers from tables that serve several of them."""
        for number in range(0, len(weights), READERS):
            m.submodules[f"table_{number // READERS}"] = table = PowerTable()
            for weight, at, power in zip(weights[number:], table.at, table.power):
                m.d.comb += [at.eq(weight.at), weight.power.eq(power)]

    def encode(self, m, platform, released, weighing, at):
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
        # Not free before its last row is taken: that stays on the bank's output until then.
        m.d.comb += [released.eq(taken & loaded_last), self.i_ratio.ready.eq(taken & loaded_last)]
        with m.If(fetch):
            m.d.sync += [loaded.eq(1), loaded_last.eq(last), from_bank.eq(bank),
                         row.eq(Mux(last, 0, row + 1))]
            with m.If(last):
                m.d.sync += bank.eq(self.after(bank))
        with m.Elif(taken):
            m.d.sync += loaded.eq(0)
        place, parts = self.split(row)
        from_part = Signal(range(max(2, config.abreast)))
        with m.If(fetch):
            m.d.sync += from_part.eq(row[:self.part_bits])
        # Addresses do not wait for `fetch`, which comes late.
        m.d.comb += [port.eq(value) for n, reads in enumerate(self.read)
                     for read, mine in zip(reads, parts) for port, value in (
                         (read.addr, Mux(weighing[n], at, place)),
                         (read.en, weighing[n] | fetch & (bank == n) & mine))]
        # The bank's parts first: what is taken from it is a row of one of them.
        entry = Array([Array([read.data for read in reads])[from_part] for reads in self.read])[
            from_bank]
        m.d.comb += self.o.valid.eq(lanes[0].o.valid)
        if config.zeros:
            m.d.comb += self.o.p.zero.eq(later(m, entry.scale[:KV_ZERO_BITS], config.code.latency,
                                               "zero", advance=lanes[0].i.ready))
        for q, lane in enumerate(lanes):
            m.submodules[f"code_{q}"] = lane
            m.d.comb += [lane.i.valid.eq(loaded), lane.i.p.y[0].eq(entry.words[q]),
                         lane.i.p.scale.eq(self.i_ratio.p[q]), lane.o.ready.eq(self.o.ready),
                         self.o.p.codes[q].eq(lane.o.p[0])]
