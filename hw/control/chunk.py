# SPDX-License-Identifier: Apache-2.0
"""What a decoder keeps of each token of a chunk, while the tokens share the weights of a layer."""

from amaranth import *
from amaranth.lib import data, stream, wiring

from hw.kv.layouts import Move
from hw.quant.code_encoder import Format
from hw.quant.scale_lanes import SMALL_FLOAT

__all__ = ["CodesScale", "Kept", "array_tokens", "attended", "number", "stored_sums",
           "tokens_of", "up_codes"]


class Kept:
    """A small float of each token."""

    def __init__(self, core, name):
        self.token = core.units.token
        shape = SMALL_FLOAT if self.token is None else data.ArrayLayout(
            SMALL_FLOAT, core.config.array.batch)
        self.all = Signal(shape, name=name, reset_less=True)

    def of(self, token):
        """Return that of a token."""
        return self.all if token is None else self.all[token]

    @property
    def now(self):
        """That of the token whose round it is."""
        return self.of(self.token)


def tokens_of(core):
    """Return how many tokens a run has; None without a batch."""
    return core.i_token.p.count if core.config.array.batch > 1 else None


def number(m, core):
    """Return the token that an ``embed`` is about, and its position."""
    given, turn = core.i_token.p, core.units.token
    if turn is None:
        return given.token, given.position
    quantise = core.units.fields["quantise"]
    position = Signal.like(given.position)
    m.d.comb += [
        position.eq(given.position + turn),
        # Nobody wants to know what follows the others.
        core.units.single.eq(core.units.op["head"] | core.units.op["end"] | (
            core.units.op["quantise"] & (quantise.format == Format.INT8))),
    ]
    return given.tokens[turn], position


class CodesScale(Kept):
    """The scale of each token's codes, and whether it stands, which it does a while after them.

    That of the token in turn is the core's.
    """

    def __init__(self, m, core):
        batch = core.config.array.batch
        if batch == 1:
            self.token = self.asker = None
            self.all, self.known = core.scale, core.scaled
            return
        super().__init__(core, "scale_of")
        self.known, self.asker = Signal(batch), Signal(range(batch))
        m.d.comb += [core.scale.eq(self.now), core.scaled.eq(self.known_of(self.token))]

    def known_of(self, token):
        """Return whether the scale of a token stands."""
        return self.known if token is None else self.known.bit_select(token, 1)

    def ask(self):
        """Codes of the token in turn are asked for; return what happens then."""
        return [self.known_of(self.token).eq(0),
                *([] if self.token is None else [self.asker.eq(self.token)])]

    def keep(self, scale):
        """Their scale is there; return what happens then."""
        return [self.of(self.asker).eq(scale), self.known_of(self.asker).eq(1)]


def stored_sums(m, core):
    """Return the stream of the array's sums for ``attend`` and ``feed_forward``."""
    array, config = core.sums, core.config
    if config.array.batch == 1:
        return array.o
    store, units, codes = core.sum_store, core.units, core.units.fields["quantise"]
    layout = data.ArrayLayout(signed(config.gate_up.sum_bits), config.array.rows)
    out = stream.Signature(data.StructLayout({"sums": layout, "last": 1})).create(path=("sums_o",))
    blocks = Signal.like(store.i_read.p.words)   # of the run that follows
    with m.If(units.op["quantise"]):
        m.d.sync += blocks.eq(codes.blocks)
    units.offer("sums_read", store.i_read, attend={"words": blocks, "passes": 1},
                feed_forward={"words": blocks, "passes": 1})
    m.d.comb += [
        store.i.payload.eq(Cat(total[:config.gate_up.sum_bits] for total in array.o.p.sums)),
        store.token.eq(units.token), store.tokens.eq(tokens_of(core)),
        store.restart.eq(units.done),
        Value.cast(out.p.sums).eq(store.o.p.word), out.p.last.eq(store.o.p.last),
        out.valid.eq(store.o.valid), store.o.ready.eq(out.ready),
    ]
    with m.If(units.op["attend"] | units.op["feed_forward"]):
        m.d.comb += [array.o.ready.eq(1), store.i.valid.eq(array.o.valid)]
    return out


def attended(m, core):
    """Keep what attention gives of each token; return that stream, and fields of its command."""
    attention, units = core.attended, core.units
    if core.config.array.batch == 1:
        return attention.o, attention.o.p, {"repeats": 2}
    fields, store = units.fields["attend"], core.word_store
    beat = Signal(range(1 << len(fields.n)))
    head = Signal.like(fields.heads)
    last = beat + 1 == core.beats(fields.n)
    with m.If(store.i.valid):
        m.d.sync += beat.eq(beat + 1)
        with m.If(last):
            m.d.sync += [beat.eq(0), head.eq(head + 1)]
    units.flag("kept", store.i.valid & last & (head + 1 == fields.heads), "attend")
    with m.If(units.round):
        m.d.sync += head.eq(0)
    m.d.comb += [
        store.i.payload.eq(Value.cast(attention.o.p)), store.token.eq(units.token),
        store.restart.eq(units.round),
        store.i.valid.eq(attention.o.valid & units.op["attend"]),
        attention.o.ready.eq(units.op["attend"]),
    ]
    units.offer("words_read", store.i_read, output={
        "words": core.beats(units.fields["output"].n), "passes": 2})
    turn = Mux(units.first, Move.FIRST, Move.NEXT)
    return store.o, store.o.p.word, {"repeats": 1, "move": Mux(
        tokens_of(core) == 1, Move.SAME, turn)}


def array_tokens(core):
    """Return the last field of the array's command: how many tokens share its weights."""
    if core.config.array.batch == 1:
        return []
    return [Mux(core.units.single, 1, tokens_of(core))]


def up_codes(m, core):
    """Keep each token's codes for the up rows until its gates come, if there are several."""
    gate_up, units = core.gate_up, core.units
    if core.config.array.batch == 1:
        wiring.connect(m, core.up_packer.o, gate_up.i_vector)
        return
    store, fields = core.code_store, units.fields["feed_forward"]
    m.d.comb += [
        store.i.payload.eq(Value.cast(core.up_packer.o.payload)),
        store.i.valid.eq(core.up_packer.o.valid), core.up_packer.o.ready.eq(1),
        store.token.eq(units.token), store.restart.eq(units.round),
        Value.cast(gate_up.i_vector.payload).eq(store.o.p.word),
        gate_up.i_vector.valid.eq(store.o.valid), store.o.ready.eq(gate_up.i_vector.ready),
    ]
    units.offer("up_codes_read", store.i_read, feed_forward={
        "words": fields.up_blocks, "passes": 1})
