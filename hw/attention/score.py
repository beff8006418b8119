# SPDX-License-Identifier: Apache-2.0
"""Scores: rows of keys, word by word, against the queries of the heads that share them."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.attention_config import ScoreConfig
from golden_model.formats import KV_ZERO_BITS
from hw.attention.sign_dot import SignDot, pair_layout
from hw.delay import vacant
from hw.emit import once

__all__ = ["Score", "key_layout", "split_bos", "zero_step"]

KV_SCALE_BITS = 16


def key_layout(config):
    """One word of a key row as the cache reads it, with the scale of the value row beside it."""
    return data.StructLayout({
        "codes": data.ArrayLayout(unsigned(config.bos_bits), config.lanes),
        "scale": KV_SCALE_BITS, "value_scale": KV_SCALE_BITS,
        "bos": 1, "last_word": 1, "last": 1,
    })


def split_bos(config, code, fine, second):
    """Return the code of one of two beats that make a code of one bit more.

    ``2 u - 15 = 2 (2 u' - 7) + (2 b - 1)`` with ``u = 2 u' + b``; the last term is 1 or -1, as the
    codes 4 and 3 of three bits stand for.
    """
    bits = config.code_bits
    code = Value.cast(code)
    if config.bos_bits == bits:
        return code
    low = Cat((~code[0]).replicate(bits - 1), code[0])
    return Mux(fine, Mux(second, low, code[1:]), code[:bits])


def zero_step(config, scale, bos):
    """Return the mid-rise step of the zero point that ends a row's scale, ``2 z - L``.

    That of a row with one bit less is one of the BOS row's: ``2 (z + 4) - 15 = 2 z - 7``.
    """
    zero = scale[:config.code_bits]
    if config.bos_bits > config.code_bits:
        zero = Mux(bos, scale[:config.bos_bits], zero + (1 << config.code_bits - 1))
    zero = zero[:config.bos_bits]
    return Cat(C(1, 1), zero[:-1], ~zero[-1]).as_signed()


class Score(wiring.Component):
    """``S = sum q * step`` of each row of keys, for ``config.queries`` heads at once.

    A pass is one command, its heads' queries (``beats`` beats a head) and then rows of keys up to
    the one marked ``last``.  Queries have two banks: those of the next pass come in while rows of
    this one do.  A row takes a cycle a word, the BOS row two, and its scores leave
    ``config.latency`` cycles after its last word.  The pipeline stalls as a whole while ``o`` is
    not taken, so ``i_row.ready`` depends combinationally on ``o.ready``.

    Sums are those of mid-rise steps.  Symmetric ones are half of a step less one,
    ``u - 4 = ((2 u - 7) - 1) / 2``, and of the BOS row likewise: a row's sum then begins with minus
    the sum of its query's codes, one correction a query, and half of it leaves.  Min/max ones are
    half the difference of two, ``u - z = ((2 u - L) - (2 z - L)) / 2``: minus that sum is then
    multiplied by the second, which depends on the row.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"beats": ..., "words": ...})))`
        Beats of a head's query and words of a row, from 1; taken when the queries are in.
    i_query : :py:`In(stream.Signature(ArrayLayout(signed(query_bits), beat)))`
        Head after head; codes past the head's end must be 0.
    i_row : :py:`In(stream.Signature(key_layout(config)))`
        The codes of a row that is not ``bos`` have ``code_bits`` bits.
    o : :py:`Out(stream.Signature(StructLayout({"sums": ..., "scale": ..., ...})))`
        A row's scores, its scales and whether it is the last.
    """

    def __init__(self, config: ScoreConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "beats": range(config.max_beats + 1), "words": range(config.max_words + 1)}))),
            "i_query": In(stream.Signature(
                data.ArrayLayout(signed(config.query_bits), config.beat))),
            "i_row": In(stream.Signature(key_layout(config))),
            "o": Out(stream.Signature(data.StructLayout({
                "sums": data.ArrayLayout(signed(config.sum_bits), config.queries),
                "scale": KV_SCALE_BITS, "value_scale": KV_SCALE_BITS, "last": 1}))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        self.full, self.bank = Signal(2), Signal()  # which banks hold queries, which is in use
        words = max(2, config.max_words)
        m.d.comb += self.o.valid.eq(valid := Signal())
        advance = ~valid | self.o.ready
        # A bank's words begin at a power of two.
        memories = [memory.Memory(shape=data.ArrayLayout(pair_layout(config.dot), config.dot.pairs),
                                  depth=2 << (words - 1).bit_length(), init=[])
                    for _ in range(config.queries)]
        for n, queries in enumerate(memories):
            m.submodules[f"queries_{n}"] = queries
        release = Signal()
        # Of each query minus the sum of its codes, by bank.
        self.begins = [[Signal(signed(config.sum_bits), name=f"begin_{n}_{bank}")
                        for bank in range(2)] for n in range(
                            config.queries if config.kv_code != "midrise" else 0)]
        self.load(m, memories, release)

        row, word, second = self.i_row.p, Signal(range(words)), Signal()
        splits = row.bos & (config.bos_bits > config.code_bits)
        taken, gives, moves = Signal(), Signal(), Signal()
        ends = ~splits | second
        m.d.comb += [
            taken.eq(self.i_row.valid & self.holds(self.bank) & moves),
            self.i_row.ready.eq(self.holds(self.bank) & moves & ends),
            # The same as `advance`, by a register and a net of its own.
            moves.eq(vacant(m, gives, "vacant", advance=advance) | self.o.ready),
            release.eq(taken & ends & row.last_word & row.last),
        ]
        with m.If(taken):
            m.d.sync += second.eq(~ends)
            with m.If(ends):
                m.d.sync += word.eq(Mux(row.last_word, 0, word + 1))
        with m.If(release):
            m.d.sync += self.bank.eq(~self.bank)

        halved = config.kv_code != "midrise"
        # What goes along: is there a beat, does it end a row, count twice; scales.
        along = data.StructLayout({"valid": 1, "ends": 1, "last": 1, "double": 1,
                                   "scale": KV_SCALE_BITS, "value_scale": KV_SCALE_BITS,
                                   "begin": data.ArrayLayout(signed(config.sum_bits),
                                                             halved * config.queries)})
        codes = Signal(data.ArrayLayout(config.code_bits, config.lanes), reset_less=True)
        first = Signal(along)
        with m.If(advance):
            m.d.sync += [
                *(to.eq(split_bos(config, code, splits, second))
                  for to, code in zip(codes, row.codes)),
                first.valid.eq(taken), first.ends.eq(taken & ends & row.last_word),
                first.last.eq(row.last), first.double.eq(splits & ~second),
                first.scale.eq(row.scale), first.value_scale.eq(row.value_scale),
                *(to.eq(self.begin(row, pair)) for to, pair in zip(first.begin, self.begins)),
            ]
            if config.kv_code == "minmax":
                m.d.sync += first.scale[:KV_ZERO_BITS].eq(0)
        final = first
        for stage in range(config.dot.latency):
            held = Signal(along, name=f"along_{stage}")
            with m.If(advance):
                m.d.sync += held.eq(final)
            final = held

        fresh = Signal(init=1)  # no word of this row was added yet
        m.d.comb += gives.eq(final.valid & final.ends)
        with m.If(advance):
            m.d.sync += valid.eq(gives)
            with m.If(final.valid):
                m.d.sync += [fresh.eq(final.ends), self.o.p.scale.eq(final.scale),
                             self.o.p.value_scale.eq(final.value_scale),
                             self.o.p.last.eq(final.last)]
        for n, queries in enumerate(memories):
            read = queries.read_port()
            m.submodules[f"dot_{n}"] = dot = once(platform, SignDot, config.dot)
            m.d.comb += [read.addr.eq(Cat(word, self.bank)), read.en.eq(advance),
                         dot.advance.eq(advance), dot.pairs.eq(read.data), dot.codes.eq(codes)]
            term = Mux(final.double, Cat(C(0, 1), dot.magnitude),
                       Cat(dot.magnitude, dot.magnitude[-1]))
            held = Signal(signed(config.sum_bits), name=f"sum_{n}") if halved else (
                self.o.p.sums[n])
            base = Mux(fresh, final.begin[n] if halved else 0, held)
            flip = dot.negative
            total = (Cat(C(1, 1), base).as_signed()
                     + Cat(flip, term ^ flip.replicate(len(term))).as_signed())[1:]
            with m.If(advance & final.valid):
                m.d.sync += held.eq(total)
            if halved:
                m.d.comb += self.o.p.sums[n].eq(held >> 1)
        return m

    def begin(self, row, pair):
        """Return what a row's sum begins with, given minus its query's sum by bank."""
        own = Array(pair)[self.bank]
        if self.config.kv_code == "minmax":
            own *= zero_step(self.config, row.scale, row.bos)
        return own

    def holds(self, bank):
        """Return whether a bank holds queries."""
        return Mux(bank, self.full[1], self.full[0])

    def load(self, m, memories, release):
        """Fill the bank that holds nothing with sums and differences; zeros past a query's end."""
        config = self.config
        groups = config.lanes // config.beat
        words = max(2, config.max_words)
        loading, fill = Signal(), Signal()
        group, word = Signal(range(max(2, groups))), Signal(range(words))
        beat, query = Signal(range(config.max_beats + 1)), Signal(range(max(2, config.queries)))
        command = self.i_command.p
        beyond = beat == command.beats
        step = loading & (beyond | self.i_query.valid)
        query_ends = (group == groups - 1) & (word == command.words - 1)
        ends = query_ends & (query == config.queries - 1)
        m.d.comb += [self.i_query.ready.eq(loading & ~beyond),
                     self.i_command.ready.eq(step & ends)]
        with m.If(self.i_command.valid & ~self.holds(fill) & ~loading):
            m.d.sync += loading.eq(1)
        filled = Signal()
        with m.If(step):
            m.d.sync += [group.eq(Mux(group == groups - 1, 0, group + 1))]
            with m.If(~beyond):
                m.d.sync += beat.eq(beat + 1)
            with m.If(group == groups - 1):
                m.d.sync += word.eq(word + 1)
            with m.If(query_ends):
                m.d.sync += [word.eq(0), beat.eq(0), query.eq(query + 1)]
            with m.If(ends):
                m.d.comb += filled.eq(1)
                m.d.sync += [query.eq(0), loading.eq(0), fill.eq(~fill)]
        m.d.sync += self.full.eq((self.full | (filled << fill)) & ~(release << self.bank))
        q = [Mux(beyond, 0, code) for code in self.i_query.p]
        for n, pair in enumerate(self.begins):
            for bank, begin in enumerate(pair):
                with m.If(step & (query == n) & (fill == bank)):
                    opens = (group == 0) & (word == 0)
                    m.d.sync += begin.eq(Mux(opens, 0, begin) - sum(q))
        for n, queries in enumerate(memories):
            write = queries.write_port(granularity=config.beat // 2)
            m.d.comb += [write.addr.eq(Cat(word, fill)),
                         write.en.eq((step & (query == n)) << group)]
            for pair in range(config.dot.pairs):
                a, b = (q[(2 * pair + lane) % config.beat] for lane in range(2))
                m.d.comb += [write.data[pair].sum.eq(a + b), write.data[pair].difference.eq(a - b)]
