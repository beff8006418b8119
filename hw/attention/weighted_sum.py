# SPDX-License-Identifier: Apache-2.0
"""Weighted sums of value rows, word by word, for the heads that share them."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.attention_config import WeightedSumConfig
from golden_model.formats import KV_ZERO_BITS
from hw.attention.score import split_bos, zero_step
from hw.delay import vacant

__all__ = ["WeightedSum", "value_layout", "weight_layout"]


def value_layout(config):
    """One word of a value row as the cache reads it; the scale is not used here."""
    return data.StructLayout({
        "codes": data.ArrayLayout(unsigned(config.bos_bits), config.lanes),
        "bos": 1, "last_word": 1, "last": 1,
    })


def weight_layout(config, zeros):
    """Weights of a row, one each head; with `zeros` its zero point too."""
    return data.StructLayout({
        "codes": data.ArrayLayout(unsigned(config.weight_bits), config.queries),
        **({"zero": KV_ZERO_BITS} if zeros else {}),
    })


class WeightedSum(wiring.Component):
    """``O_i = sum c_t * step_ti`` over the rows of a pass, for ``config.queries`` heads at once.

    A pass is one command, its rows and one weight a row for each head.  A row takes a cycle a word,
    the BOS row of w words ``w * (w + 1)`` (one word: 2), and a pass one more.  ``config.latency``
    cycles after a pass's last word its sums follow, ``beat`` a cycle, while the next pass runs; a
    pass that ends before they are out waits.

    A weight is common to all lanes: its odd multiples are formed once, and a lane chooses one and
    adds or subtracts it.  Sums of a row's words go round in a ring of ``max_words`` registers, so
    that a lane adds to a register without a choice.  Rows of fewer words leave parts of a sum in
    several places of the ring, which are added on the way out.

    Sums are those of mid-rise steps.  Symmetric ones are half of a step less one, min/max ones half
    of a step less that of the row's zero point: the weights' own sum, in the second case each times
    that step, is taken off on the way out, and half of what is left leaves.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"beats": ..., "words": ...})))`
        Beats of a head's sums, and words of a row, a divisor of ``max_words``.
    i_weight : :py:`In(stream.Signature(weight_layout(config, config.kv_code == "minmax")))`
        One for each row.
    i_row : :py:`In(stream.Signature(value_layout(config)))`
        ``ready`` depends combinationally on ``i_weight.valid``, and the other way round.
    o : :py:`Out(stream.Signature(StructLayout({"sums": signed(sum_bits)[beat], "last": 1})))`
        Head after head; `last` marks a head's end.
    """

    def __init__(self, config: WeightedSumConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(self.command)),
            "i_weight": In(stream.Signature(weight_layout(config, config.kv_code == "minmax"))),
            "i_row": In(stream.Signature(value_layout(config))),
            "o": Out(stream.Signature(data.StructLayout({
                "sums": data.ArrayLayout(signed(config.sum_bits), config.beat), "last": 1}))),
        })

    @property
    def command(self):
        """Layout of a command."""
        return data.StructLayout({"beats": range(self.config.max_beats + 1),
                                  "words": range(self.config.max_words + 1)})

    def elaborate(self, platform):
        config = self.config
        m = Module()
        running, ended, second = Signal(), Signal(), Signal()
        command = Signal(self.command)
        word, place = (Signal(range(max(2, config.max_words)), name=name)
                       for name in ("word", "place"))
        row, weights = self.i_row.p, self.i_weight.p.codes
        splits = row.bos & (config.bos_bits > config.code_bits)
        ends, fits = ~splits | second, word == place
        advance, moves, offered, taken = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            offered.eq(running & self.i_row.valid & self.i_weight.valid & moves),
            taken.eq(offered & fits),
            self.i_row.ready.eq(running & self.i_weight.valid & moves & fits & ends),
            self.i_weight.ready.eq(taken & ends & row.last_word),
            self.i_command.ready.eq(~running & moves),
        ]
        with m.If(advance):
            m.d.sync += ended.eq(0)
        with m.If(self.i_command.ready):
            m.d.sync += running.eq(self.i_command.valid)
            with m.If(self.i_command.valid):
                m.d.sync += [command.eq(self.i_command.p), word.eq(0), place.eq(0)]
        with m.If(offered):
            m.d.sync += place.eq(Mux(place == command.words - 1, 0, place + 1))
        with m.If(taken):
            m.d.sync += second.eq(~ends)
            with m.If(ends):
                m.d.sync += word.eq(Mux(row.last_word, 0, word + 1))
                with m.If(row.last_word & row.last):
                    m.d.sync += [running.eq(0), ended.eq(1)]

        # Operands, multiples and choices, terms, sums.
        minmax = config.kv_code == "minmax"
        total = data.ArrayLayout(signed(config.sum_bits) if minmax else config.sum_bits,
                                 config.queries if config.kv_code != "midrise" else 0)
        along = data.StructLayout({"valid": 1, "end": 1, "command": self.command,
                                   "weights": total})
        so_far = Signal(total)
        counted = [weight * zero_step(config, self.i_weight.p.zero, row.bos) if minmax else weight
                   for weight in weights]
        for to, weight in zip(so_far, counted):
            with m.If(self.i_weight.ready):
                m.d.sync += to.eq(to + weight)
            with m.If(self.i_command.ready):
                m.d.sync += to.eq(0)
        codes = [Signal(config.code_bits, name=f"code_{lane}", reset_less=True)
                 for lane in range(config.lanes)]
        doubled = [Signal(config.weight_bits + 1, name=f"weight_{n}", reset_less=True)
                   for n in range(config.queries)]
        choice = [Signal(config.code_bits, name=f"choice_{lane}", reset_less=True)
                  for lane in range(config.lanes)]
        first, then, last = Signal(along), Signal(along), Signal(along)
        multiples = [[Signal(config.weight_bits + 1 + config.code_bits, name=f"multiple_{n}_{odd}",
                             reset_less=True) for odd in range(1, 1 << config.code_bits, 2)]
                     for n in range(config.queries)]
        with m.If(advance):
            m.d.sync += [
                first.valid.eq(offered), first.end.eq(ended), first.command.eq(command),
                first.weights.eq(so_far),
                then.eq(first), last.eq(then),
                *(to.eq(split_bos(config, code, splits, second))
                  for to, code in zip(codes, row.codes)),
                # A word that waits for its place adds nothing.
                *(to.eq(Mux(fits, Mux(splits & ~second, weight << 1, weight), 0))
                  for to, weight in zip(doubled, weights)),
                *(to.eq(Cat(code[:-1] ^ (~code[-1]).replicate(config.code_bits - 1), ~code[-1]))
                  for to, code in zip(choice, codes)),
                *(to.eq(weight * (2 * n + 1)) for weight, values in zip(doubled, multiples)
                  for n, to in enumerate(values)),
            ]
        # Cleared in the cycle behind a reset, which thus has no way through what clears them.
        fresh = Signal(init=1)
        m.d.sync += fresh.eq(0)
        rings = [[[Signal(signed(config.sum_bits), name=f"sum_{n}_{slot}_{lane}", reset_less=True)
                   for lane in range(config.lanes)] for slot in range(config.max_words)]
                 for n in range(config.queries)]
        copy = last.end & advance
        for n, (ring, values) in enumerate(zip(rings, multiples)):
            for lane, chosen in enumerate(choice):
                # Apart from the sum, so that neither is mapped to deep and wide logic.
                term = Signal(len(values[0]), name=f"term_{n}_{lane}", reset_less=True)
                flip = Signal(name=f"flip_{n}_{lane}", reset_less=True)
                with m.If(advance):
                    m.d.sync += [flip.eq(chosen[-1]), term.eq(
                        Array(values)[chosen[:-1]] if config.code_bits > 1 else values[0])]
                total = (Cat(C(1, 1), ring[-1][lane]).as_signed()
                         + Cat(flip, term ^ flip.replicate(len(term)), flip).as_signed())[1:]
                with m.If(last.valid & advance):
                    m.d.sync += ring[0][lane].eq(total)
                    m.d.sync += [ring[n + 1][lane].eq(ring[n][lane])
                                 for n in range(config.max_words - 1)]
                with m.If(copy | fresh):
                    m.d.sync += [slot[lane].eq(0) for slot in ring]
        busy = self.deliver(m, rings, copy, last)
        # Twice the same, of registers of its own for what others see.
        m.d.comb += [advance.eq(~(last.end & busy)),
                     moves.eq(vacant(m, then.end, "vacant", advance=advance) | ~busy)]
        return m

    def deliver(self, m, rings, copy, ended):
        """Keep a pass's sums and send them; return whether there are some to send."""
        config = self.config
        groups = config.lanes // config.beat
        busy, kept, weights = Signal(), Signal(self.command), Signal(ended.weights.shape())
        beat, group = Signal(range(config.max_beats)), Signal(range(max(2, groups)))
        word = Signal(range(max(2, config.max_words)))
        head = Signal(range(max(2, config.queries)))
        hold = [[[Signal.like(lane, name=f"kept_{n}_{slot}_{number}", reset_less=True)
                  for number, lane in enumerate(lanes)] for slot, lanes in enumerate(ring)]
                for n, ring in enumerate(rings)]
        with m.If(copy):
            m.d.sync += [busy.eq(1), kept.eq(ended.command), weights.eq(ended.weights)]
            m.d.sync += [to.eq(lane) for held, ring in zip(hold, rings)
                         for kept_slot, slot in zip(held, ring)
                         for to, lane in zip(kept_slot, slot)]
        head_ends = beat == kept.beats - 1
        step = busy & (~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(step):
            m.d.sync += [self.o.valid.eq(1), self.o.p.last.eq(head_ends),
                         beat.eq(beat + 1), group.eq(group + 1)]
            for lane in range(config.beat):
                parts = [self.choose(hold, slot, lane, head, group) for slot in
                         range(config.max_words)]
                whole = sum(Mux(self.holds(slot, kept.words, word), part, 0)
                            for slot, part in enumerate(parts))
                if config.kv_code != "midrise":
                    whole = (whole - Array(map(Value.cast, weights))[head]) >> 1
                m.d.sync += self.o.p.sums[lane].eq(whole)
            with m.If(group == groups - 1):
                m.d.sync += [group.eq(0), word.eq(word + 1)]
            with m.If(head_ends):
                m.d.sync += [beat.eq(0), group.eq(0), word.eq(0), head.eq(head + 1)]
                with m.If(head == config.queries - 1):
                    m.d.sync += [busy.eq(0), head.eq(0)]
        return busy

    def choose(self, hold, slot, lane, head, group):
        """Return one lane of the beat from one place of the ring."""
        beat = self.config.beat
        rows = [Array(held[slot][lane::beat])[group] if self.config.lanes > beat
                else held[slot][lane] for held in hold]
        return Array(rows)[head] if len(rows) > 1 else rows[0]

    def holds(self, slot, words, word):
        """Return whether a place of the ring, counted from the newest, holds part of a word."""
        most = self.config.max_words
        held = C(1, 1)
        for count in range(1, most + 1):
            if most % count == 0:
                held = Mux(words == count, word == (most - 1 - slot) % count, held)
        return held
