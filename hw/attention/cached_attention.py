# SPDX-License-Identifier: Apache-2.0
"""Attention with its cache: from words of keys, values and queries to the words ahead of Wo."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import WORD_BITS
from golden_model.kv_config import CODE_BITS
from hw.attention.attention import Attention
from hw.attention.attention import command_layout as attention_command
from hw.attention.head_joiner import HeadJoiner
from hw.attention.head_joiner import command_layout as joiner_command
from hw.emit import once
from hw.kv.cache import KvCache
from hw.kv.layouts import Move, Operation
from hw.kv.row_quantiser import RowFormat, RowQuantiser
from hw.quant.quick_float_unit import QuickFloatUnit
from hw.quant.scale_lanes import SMALL_FLOAT

__all__ = ["CachedAttention", "command_layout"]

PASSED = ("i_control", "o_save", "i_restore", "errors", "corrected", "clear_errors", "lengths")
"""Ports of the cache that are the component's too."""


class Part(enum.Enum, shape=unsigned(2)):
    """What the next head is, in the order in which words come, or with queries first."""

    KEY = 0
    VALUE = 1
    QUERY = 2


def command_layout(config: CachedAttentionConfig):
    """Payload of ``i_command``: one token in one layer."""
    fields = attention_command(config.attention).members
    joiner = joiner_command(config.joiner).members
    return data.StructLayout({
        **{name: fields[name] for name in ("slot", "stream", "passes", "shared", "words",
                                           "score_scale")},
        "heads": joiner["heads"], "kv_heads": joiner["heads"], "beats": fields["beats"],
        "n": range(config.max_n + 1), "query_bits": range(config.attention.query_bits + 1),
        "query_scale": SMALL_FLOAT, "key_scale": SMALL_FLOAT, "value_scale": SMALL_FLOAT,
        "repeats": joiner["passes"],
        **({"move": Move} if config.cache.batch > 1 else {}),
    })


class CachedAttention(wiring.Component):
    """Attention of one token in one layer, sections 7 and 8 of the numerics.

    Heads are coded one after the other as they come.  Keys and values are appended to the cache, in
    which they are the last rows of `kv_heads` neighbouring streams; a pass of attention begins when
    its queries are coded, while other heads still come in, and only its last row waits for that key
    and value.  The heads' outputs leave on one scale.

    Codes of a slot's first token have ``bos_bits``, all others ``kv_bits``, which the cache and
    the engines are built for.  Codes of a row are ahead of its scale, with which the cache wants
    the row's last word: that word waits for it, and no more than one is ever kept.

    One command at a time; the next is taken when the joiner has all sums and scales of this one,
    whose words may still be on their way out.  A control command goes first, between two commands:
    the token must be advanced explicitly after its last layer.  What does not work is told by
    ``errors`` of the cache; an unopened slot gives words and a scale of zero.

    :mod:`golden_model.attention.cached_attention_cycles` states the cycle of every transfer.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        ``slot``, and ``stream`` of the layer's first KV head; ``heads``, ``kv_heads``, and ``n``,
        the length of a head, which must be a multiple of ``config.beat``; ``beats`` and ``words``
        of a head; ``passes`` of ``config.attention.queries`` heads, of which ``shared`` read the
        same rows; bits of a query's code; scales of the words; ``score_scale`` as attention takes
        it; how often the words are sent (1 to 3).  With ``config.cache.batch`` above 1, whose turn
        it is of the tokens in progress, which go through each layer one after the other; a move
        takes ``config.move_latency`` cycles.
    i : :py:`In(stream.Signature(ArrayLayout(signed(24), config.beat)))`
        Words of the heads, keys and queries rotated: keys, values, queries; with ``config.grouped``
        of each KV head the queries of a pass, its key, its value and its other queries.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(24), config.beat)))`
        Words of all heads.
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
        Their scale.
    i_control, o_save, i_restore, errors, corrected, clear_errors, lengths
        Of :class:`hw.kv.cache.KvCache`.
    idle : Out
        No command is at work.
    """

    def __init__(self, config: CachedAttentionConfig):
        self.config = config
        words = stream.Signature(data.ArrayLayout(signed(WORD_BITS), config.beat))
        self.cache, self.quantiser = KvCache(config.cache), RowQuantiser(config.quantiser)
        self.attention, self.joiner = Attention(config.attention), HeadJoiner(config.joiner)
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i": In(words), "o": Out(words), "o_scale": Out(stream.Signature(SMALL_FLOAT)),
            **{name: self.cache.signature.members[name] for name in PASSED}, "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        command = Signal(command_layout(self.config), reset_less=True)
        first = Signal()  # the slot has no token yet
        self.connect(m, platform)

        feeding, attending, joining, waits = Signal(), Signal(), Signal(), Signal()
        sums, scales = (Signal.like(command.heads, name=name) for name in ("sums", "scales"))
        self.feed(m, command, first, feeding)
        self.code(m, command)
        self.collect(m, command, attending, joining, sums, scales)
        m.d.comb += waits.eq(joining | (sums != 0) | (scales != 0))
        control, cache, asked = self.i_control, self.cache, self.i_command
        batched = self.config.cache.batch > 1

        def begin(token):
            m.d.sync += [feeding.eq(1), attending.eq(1), joining.eq(1),
                         sums.eq(token.heads), scales.eq(token.heads),
                         first.eq(cache.lengths[token.slot] == 0)]
            m.next = "ATTEND"

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    cache.i_control.valid.eq(control.valid), control.ready.eq(
                        cache.i_control.ready),
                    self.idle.eq(cache.idle), asked.ready.eq(cache.idle & ~control.valid)]
                with m.If(asked.valid & asked.ready):
                    m.d.sync += command.eq(asked.p)
                    begin(asked.p)
                    if batched:
                        with m.If(asked.p.move != Move.SAME):
                            m.d.sync += [each.eq(0) for each in (feeding, attending, joining)]
                            m.next = "MOVE"
            if batched:
                with m.State("MOVE"):
                    m.d.comb += [
                        cache.i_control.valid.eq(1), cache.i_control.p.slot.eq(command.slot),
                        cache.i_control.p.op.eq(Operation.ADVANCE),
                        cache.i_control.p.move.eq(command.move)]
                    with m.If(cache.i_control.ready):
                        m.next = "MOVED"
                with m.State("MOVED"):
                    with m.If(cache.idle):
                        begin(command)
            with m.State("ATTEND"):
                with m.If(~waits):
                    m.next = "IDLE"
        return m

    def connect(self, m, platform):
        """Connect streams; of the rows that are read the newest may yet be coded."""
        cache, attention = self.cache, self.attention
        for name in ("cache", "quantiser", "attention", "joiner"):
            m.submodules[name] = getattr(self, name)
        m.d.comb += [
            cache.i_control.p.eq(self.i_control.p), cache.clear_errors.eq(self.clear_errors),
            self.errors.eq(cache.errors), self.corrected.eq(cache.corrected),
            self.lengths.eq(cache.lengths),
        ]
        for inner, outer in ((cache.o_save, self.o_save), (self.joiner.o, self.o),
                             (self.joiner.o_scale, self.o_scale)):
            wiring.connect(m, inner, wiring.flipped(outer))
        for outer, inner in ((self.i_restore, cache.i_restore), (self.i, self.quantiser.i)):
            wiring.connect(m, wiring.flipped(outer), inner)
        for asked, read, out, words in (
                (attention.o_key_read, cache.i_read_k, cache.o_k, attention.i_key),
                (attention.o_value_read, cache.i_read_v, cache.o_v, attention.i_value)):
            m.d.comb += [
                read.valid.eq(asked.valid), asked.ready.eq(read.ready), read.p.newest.eq(1),
                read.p.slot.eq(asked.p.slot), read.p.stream.eq(asked.p.stream),
                words.valid.eq(out.valid), out.ready.eq(words.ready),
                *(to.eq(code) for to, code in zip(words.p.codes, out.p.codes)),
                *(words.p[name].eq(out.p[name]) for name, _ in words.p.shape()
                  if name != "codes")]
        for n, (request, response) in enumerate(zip(attention.o_request, attention.i_response)):
            m.submodules[f"unit_{n}"] = unit = once(platform, QuickFloatUnit,
                                                    self.config.attention.unit)
            wiring.connect(m, request, unit.i)
            wiring.connect(m, unit.o, response)

    def walk(self, m, command, moves, name):
        """Go through the heads in the order in which they come, one whenever `moves` is set.

        Returns
        -------
        part
            What the head is.
        stream
            How many KV heads are ahead of it.
        final
            Whether it is the last one.
        """
        begins = Part.QUERY if self.config.grouped else Part.KEY
        part = Signal(Part, init=begins, name=f"{name}_part")
        stream = Signal.like(command.heads, name=f"{name}_stream")
        of_query = part == Part.QUERY
        if self.config.grouped:
            query, ahead = Signal.like(command.heads, name=f"{name}_query"), self.config.ahead
            last_stream, alone = stream + 1 == command.kv_heads, command.shared == 1
            ends = ~of_query | (query + 1 == ahead)
            group_ends = Mux(alone, part == Part.VALUE,
                             of_query & (query + 1 == command.shared * ahead))
            final = group_ends & last_stream
            with m.If(moves & of_query):
                m.d.sync += query.eq(query + 1)
            with m.If(moves & group_ends):
                m.d.sync += [query.eq(0), stream.eq(Mux(last_stream, 0, stream + 1))]
        else:
            ends = stream + 1 == Mux(of_query, command.heads, command.kv_heads)
            final = of_query & ends
            with m.If(moves):
                m.d.sync += stream.eq(Mux(ends, 0, stream + 1))
        with m.If(moves & ends):
            m.d.sync += part.eq(Mux(of_query, Part.KEY, part.as_value() + 1))
        return part, stream, final

    def feed(self, m, command, first, feeding):
        """Tell the quantiser what each head is."""
        config, port = self.config.attention, self.quantiser.i_command
        part, _, final = self.walk(m, command, port.valid & port.ready, "fed")
        m.d.comb += [port.valid.eq(feeding), port.p.n.eq(command.n)]
        with m.If(part == Part.QUERY):
            m.d.comb += [port.p.format.eq(RowFormat.QUERY), port.p.bits.eq(command.query_bits),
                         port.p.scale.eq(command.query_scale)]
        with m.Else():
            m.d.comb += [port.p.format.eq(RowFormat[config.kv_code.upper()]),
                         port.p.bits.eq(self.row_bits(first, config)),
                         port.p.scale.eq(Mux(part == Part.KEY, command.key_scale,
                                             command.value_scale))]
        with m.If(port.valid & port.ready & final):
            m.d.sync += feeding.eq(0)

    @staticmethod
    def row_bits(first, config):
        """Return the bits of a key's or value's code."""
        return Mux(first, config.bos_bits, config.code_bits)

    def code(self, m, command):
        """Append coded rows, and give attention coded queries."""
        cache, coded, scale = self.cache, self.quantiser.o, self.quantiser.o_scale
        query, query_scale = self.attention.i_query, self.attention.i_query_scale
        part, *_ = self.walk(m, command, coded.valid & coded.ready & coded.p.last, "coded")
        scale_part, stream, _ = self.walk(m, command, scale.valid & scale.ready, "scaled")
        of_query, scale_of_query = part == Part.QUERY, scale_part == Part.QUERY
        begun, asked, full, final = (Signal(name=name) for name in (
            "begun", "asked", "full", "final"))
        beat, groups = self.config.beat, self.config.cache.lanes // self.config.beat
        group = Signal(range(max(2, groups)))
        word = Signal(data.ArrayLayout(CODE_BITS, self.config.cache.lanes), reset_less=True)
        m.d.comb += [
            coded.ready.eq(Mux(of_query, query.ready, ~full)),
            query.valid.eq(coded.valid & of_query),
            *(to.eq(code) for to, code in zip(query.p, coded.p.codes)),
            scale.ready.eq(Mux(scale_of_query, query_scale.ready,
                               final & cache.i_row.valid & cache.i_row.ready)),
            query_scale.valid.eq(scale.valid & scale_of_query), query_scale.p.eq(scale.p.scale),
            # With a row's first codes, so that it is looked up before the last ones come.
            cache.i_append.valid.eq(begun & ~asked & ~scale_of_query),
            cache.i_append.p.slot.eq(command.slot),
            cache.i_append.p.stream.eq(command.stream + stream),
            cache.i_append.p.value.eq(scale_part == Part.VALUE),
            cache.i_row.valid.eq(full & (~final | scale.valid)), cache.i_row.p.codes.eq(word),
            cache.i_row.p.scale.eq(scale.p.kv), cache.i_row.p.last.eq(final),
        ]
        with m.If(cache.i_append.valid & cache.i_append.ready):
            m.d.sync += asked.eq(1)
        with m.If(coded.valid & ~of_query & ~full):
            m.d.sync += [group.eq(group + 1), final.eq(coded.p.last), begun.eq(1)]
            with m.If(coded.p.last | (group == groups - 1)):
                m.d.sync += [group.eq(0), full.eq(1)]
            for lane, code in enumerate(word):
                with m.If(group == lane // beat):
                    m.d.sync += code.eq(coded.p.codes[lane % beat])
                with m.Elif(group == 0):
                    m.d.sync += code.eq(0)  # what lies past a row's end
        with m.If(cache.i_row.valid & cache.i_row.ready):
            m.d.sync += full.eq(0)
            with m.If(final):
                m.d.sync += [begun.eq(0), asked.eq(0)]

    def collect(self, m, command, attending, joining, sums, scales):
        """Give attention and joiner their commands, and the joiner what attention makes."""
        attention, joiner = self.attention, self.joiner
        m.d.comb += [
            attention.i_command.valid.eq(attending),
            *(attention.i_command.p[name].eq(command[name])
              for name in attention_command(self.config.attention).members),
            joiner.i_command.valid.eq(joining), joiner.i_command.p.heads.eq(command.heads),
            joiner.i_command.p.beats.eq(command.beats),
            joiner.i_command.p.shift.eq(self.config.output_shift),
            joiner.i_command.p.passes.eq(command.repeats),
            joiner.i.p.last.eq(attention.o.p.last),
            *(to.eq(one) for to, one in zip(joiner.i.p.sums, attention.o.p.sums)),
            joiner.i_scale.p.eq(attention.o_scale.p),
        ]
        for waiting, port in ((attending, attention.i_command), (joining, joiner.i_command)):
            with m.If(waiting & port.ready):
                m.d.sync += waiting.eq(0)
        for given, to, left, counts in (
                (attention.o, joiner.i, sums, attention.o.p.last),
                (attention.o_scale, joiner.i_scale, scales, C(1, 1))):
            m.d.comb += [to.valid.eq(given.valid), given.ready.eq(to.ready)]
            with m.If(given.valid & to.ready & counts):
                m.d.sync += left.eq(left - 1)
