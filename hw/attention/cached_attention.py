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
from hw.attention.scale_join import ScaleJoin
from hw.kv.cache import KvCache
from hw.kv.row_quantiser import RowFormat, RowQuantiser
from hw.quant.request_arbiter import RequestArbiter
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST

__all__ = ["CachedAttention", "command_layout"]

PASSED = ("i_control", "o_save", "i_restore", "errors", "corrected", "clear_errors", "lengths")
"""Ports of the cache that are the component's too."""


class Part(enum.Enum, shape=unsigned(2)):
    """What the next head is, in the order in which words come."""

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
    })


class CachedAttention(wiring.Component):
    """Attention of one token in one layer, sections 7 and 8 of the numerics.

    The heads of keys, then those of values, are coded and appended to the cache, in which they are
    the last rows of `kv_heads` neighbouring streams; then queries are coded while attention over
    all visible rows is under way.  Its heads leave on one scale.  Queries come last, because they
    are needed last: passes begin with the first of them, and none has to be kept.

    Codes of a slot's first token have ``bos_bits``, all others ``kv_bits``, which the cache and
    the engines are built for.  Codes of a row are ahead of its scale, with which the cache wants
    the row's last word: that word waits for it, and no more than one is ever kept.

    One command at a time; the next is taken when the joiner has all sums and scales of this one,
    whose words may still be on their way out.  A control command goes first, between two commands:
    the token must be advanced explicitly after its last layer.  What does not work is told by
    ``errors`` of the cache; an unopened slot gives words and a scale of zero.

    :func:`golden_model.attention.cached_attention.cycle_bounds` says how long a command takes; how
    requests meet at the small-float unit is not modelled.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        ``slot``, and ``stream`` of the layer's first KV head; ``heads``, ``kv_heads``, and ``n``,
        the length of a head, which must be a multiple of ``config.beat``; ``beats`` and ``words``
        of a head; ``passes`` of ``config.attention.queries`` heads, of which ``shared`` read the
        same rows; bits of a query's code; scales of the words; ``score_scale`` as attention takes
        it; how often the words are sent (1 to 3).
    i : :py:`In(stream.Signature(ArrayLayout(signed(24), config.beat)))`
        Words of the keys, of the values and of the queries, rotated, head after head.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(24), config.beat)))`
        Words of all heads.
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
        Their scale.
    i_control, o_save, i_restore, errors, corrected, clear_errors, lengths
        Of :class:`hw.kv.cache.KvCache`.
    idle : Out
        No command is at work.
    o_request, i_response
        Streams of a :class:`hw.quant.small_float_unit.SmallFloatUnit`, which may serve others in
        between.
    """

    def __init__(self, config: CachedAttentionConfig):
        self.config = config
        words = stream.Signature(data.ArrayLayout(signed(WORD_BITS), config.beat))
        self.cache, self.quantiser = KvCache(config.cache), RowQuantiser(config.quantiser)
        self.attention, self.join = Attention(config.attention), ScaleJoin(config.attention)
        self.joiner, self.arbiter = HeadJoiner(config.joiner), RequestArbiter(config.arbiter)
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i": In(words), "o": Out(words), "o_scale": Out(stream.Signature(SMALL_FLOAT)),
            **{name: self.cache.signature.members[name] for name in PASSED}, "idle": Out(1),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        command = Signal(command_layout(self.config), reset_less=True)
        first = Signal()  # the slot has no token yet
        self.connect(m)

        feeding, joining, waits = Signal(), Signal(), Signal()
        sums, scales = (Signal.like(command.heads, name=name) for name in ("sums", "scales"))
        self.feed(m, command, first, feeding)
        self.collect(m, command, joining, sums, scales)
        m.d.comb += waits.eq(joining | (sums != 0) | (scales != 0))
        control, cache = self.i_control, self.cache
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [
                    cache.i_control.valid.eq(control.valid), control.ready.eq(
                        cache.i_control.ready),
                    self.idle.eq(cache.idle), self.i_command.ready.eq(cache.idle & ~control.valid)]
                with m.If(self.i_command.valid & self.i_command.ready):
                    m.d.sync += [command.eq(self.i_command.p), feeding.eq(1), joining.eq(1),
                                 sums.eq(self.i_command.p.heads), scales.eq(self.i_command.p.heads),
                                 first.eq(cache.lengths[self.i_command.p.slot] == 0)]
                    m.next = "ROWS"
            with m.State("ROWS"):
                with m.If(self.append(m, command)):
                    m.next = "ATTEND"
            with m.State("ATTEND"):
                m.d.comb += self.attention.i_command.valid.eq(1)
                with m.If(self.attention.i_command.ready):
                    m.next = "QUERIES"
            with m.State("QUERIES"):
                for coded, query in ((self.quantiser.o, self.attention.i_query),
                                     (self.quantiser.o_scale, self.attention.i_query_scale)):
                    m.d.comb += [query.valid.eq(coded.valid), coded.ready.eq(query.ready)]
                with m.If(~waits):
                    m.next = "IDLE"
        return m

    def connect(self, m):
        """Connect streams that need no control."""
        cache, attention, join, arbiter = self.cache, self.attention, self.join, self.arbiter
        for name in ("cache", "quantiser", "attention", "join", "joiner", "arbiter"):
            m.submodules[name] = getattr(self, name)
        m.d.comb += [
            cache.i_control.p.eq(self.i_control.p), cache.clear_errors.eq(self.clear_errors),
            self.errors.eq(cache.errors), self.corrected.eq(cache.corrected),
            self.lengths.eq(cache.lengths),
            *(to.eq(code) for to, code in zip(attention.i_query.p, self.quantiser.o.p.codes)),
            attention.i_query_scale.p.eq(self.quantiser.o_scale.p.scale),
        ]
        for inner, outer in ((cache.o_save, self.o_save), (self.joiner.o, self.o),
                             (self.joiner.o_scale, self.o_scale),
                             (arbiter.o_request, self.o_request)):
            wiring.connect(m, inner, wiring.flipped(outer))
        for outer, inner in ((self.i_restore, cache.i_restore), (self.i, self.quantiser.i),
                             (self.i_response, arbiter.i_response)):
            wiring.connect(m, wiring.flipped(outer), inner)

        for side, read, out in (("key", cache.i_read_k, cache.o_k),
                                ("value", cache.i_read_v, cache.o_v)):
            wiring.connect(m, getattr(attention, f"o_{side}_read"), getattr(join, f"i_{side}_read"))
            wiring.connect(m, getattr(join, f"o_{side}"), getattr(attention, f"i_{side}"))
            asked, words = getattr(join, f"o_{side}_read"), getattr(join, f"i_{side}")
            m.d.comb += [
                read.valid.eq(asked.valid), asked.ready.eq(read.ready),
                read.p.slot.eq(asked.p.slot), read.p.stream.eq(asked.p.stream),
                words.valid.eq(out.valid), out.ready.eq(words.ready),
                *(to.eq(code) for to, code in zip(words.p.codes, out.p.codes)),
                *(words.p[name].eq(out.p[name]) for name in ("scale", "bos", "last_word", "last"))]
        requests = [self.quantiser.o_request, *attention.o_request]
        responses = [self.quantiser.i_response, *attention.i_response]
        for n, (request, response) in enumerate(zip(requests, responses)):
            wiring.connect(m, request, arbiter.i_request[n])
            wiring.connect(m, arbiter.o_response[n], response)

    def feed(self, m, command, first, feeding):
        """Tell the quantiser what each head is."""
        config, port = self.config.attention, self.quantiser.i_command
        part, head = Signal(Part), Signal.like(command.heads, name="fed")
        m.d.comb += [port.valid.eq(feeding), port.p.n.eq(command.n)]
        with m.If(part == Part.QUERY):
            m.d.comb += [port.p.format.eq(RowFormat.QUERY), port.p.bits.eq(command.query_bits),
                         port.p.scale.eq(command.query_scale)]
        with m.Else():
            m.d.comb += [port.p.format.eq(RowFormat.MIDRISE),
                         port.p.bits.eq(self.row_bits(first, config)),
                         port.p.scale.eq(Mux(part == Part.KEY, command.key_scale,
                                             command.value_scale))]
        with m.If(port.valid & port.ready):
            m.d.sync += head.eq(head + 1)
            with m.If(head + 1 == Mux(part == Part.QUERY, command.heads, command.kv_heads)):
                m.d.sync += [head.eq(0), part.eq(part.as_value() + 1)]
                with m.If(part == Part.QUERY):
                    m.d.sync += [part.eq(Part.KEY), feeding.eq(0)]

    @staticmethod
    def row_bits(first, config):
        """Return the bits of a key's or value's code."""
        return Mux(first, config.bos_bits, config.code_bits)

    def append(self, m, command):
        """Append coded rows; return whether the last of them ends."""
        cache, coded, scale = self.cache, self.quantiser.o, self.quantiser.o_scale
        beat, groups = self.config.beat, self.config.cache.lanes // self.config.beat
        value, asked, full, final = (Signal(name=name) for name in (
            "value", "asked", "full", "final"))
        head, group = Signal.like(command.heads, name="kept"), Signal(range(max(2, groups)))
        word = Signal(data.ArrayLayout(CODE_BITS, self.config.cache.lanes), reset_less=True)
        ends = Signal()
        m.d.comb += [
            cache.i_append.valid.eq(~asked), cache.i_append.p.slot.eq(command.slot),
            cache.i_append.p.stream.eq(command.stream + head), cache.i_append.p.value.eq(value),
            coded.ready.eq(~full),
            cache.i_row.valid.eq(full & (~final | scale.valid)), cache.i_row.p.codes.eq(word),
            cache.i_row.p.scale.eq(scale.p.kv), cache.i_row.p.last.eq(final),
            scale.ready.eq(full & final & cache.i_row.ready),
        ]
        with m.If(cache.i_append.valid & cache.i_append.ready):
            m.d.sync += asked.eq(1)
        with m.If(coded.valid & ~full):
            m.d.sync += [group.eq(group + 1), final.eq(coded.p.last)]
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
                m.d.sync += [asked.eq(0), head.eq(head + 1)]
                with m.If(head + 1 == command.kv_heads):
                    m.d.sync += [head.eq(0), value.eq(~value)]
                    m.d.comb += ends.eq(value)
        return ends

    def collect(self, m, command, joining, sums, scales):
        """Give attention and joiner their commands, and the joiner what attention makes."""
        attention, joiner = self.attention, self.joiner
        m.d.comb += [
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
        with m.If(joining & joiner.i_command.ready):
            m.d.sync += joining.eq(0)
        for given, to, left, counts in (
                (attention.o, joiner.i, sums, attention.o.p.last),
                (attention.o_scale, joiner.i_scale, scales, C(1, 1))):
            m.d.comb += [to.valid.eq(given.valid), given.ready.eq(to.ready)]
            with m.If(given.valid & to.ready & counts):
                m.d.sync += left.eq(left - 1)
