# SPDX-License-Identifier: Apache-2.0
"""How the decoder's units are joined in the instructions that it has beside its quantiser."""

from amaranth import *
from amaranth.lib import wiring

from golden_model.quant_config import EXPONENT_BITS
from hw.control import chunk
from hw.quant.scale_lanes import SMALL_FLOAT

__all__ = ["attend", "embed", "feed", "head"]


def embed(m, core):
    """Load a row of the embedding and the position's rotations; return the beats of a vector."""
    fields, (token, position) = core.units.fields["embed"], chunk.number(m, core)
    beats = core.beats(fields.n)
    outside = Signal()
    hidden_beats = Signal.like(core.residual.i_command.p.beats)
    m.d.comb += [outside.eq(token >= fields.vocab),
                 core.token_range.eq(core.units.op["embed"] & outside & core.units.round)]
    with m.If(core.units.op["embed"]):
        m.d.sync += hidden_beats.eq(beats)
    core.units.offer("row", core.embedding.i_command, embed={
        "token": Mux(outside, 0, token), "address": fields.address,
        "tiles": fields.tiles, "beats": beats})
    wiring.connect(m, core.embedding.o, core.residual.i_codes)

    m.d.comb += [core.position.i.payload.eq(position),
                 core.position.base.eq(fields.table),
                 core.position.beats.eq(fields.table_beats)]
    asked = core.units.flag("position_asked", core.position.i.valid & core.position.i.ready)
    loaded = core.units.flag("turns_loaded", core.rotations.i_load.valid
                       & core.rotations.i_load.ready, "embed")
    m.d.comb += [
        core.position.i.valid.eq(core.units.op["embed"] & ~asked),
        core.rotations.i_load.valid.eq(core.position.o.valid & ~loaded),
        core.rotations.i_load.p.burst.eq(core.position.o.p),
        core.rotations.i_load.p.words.eq(fields.table_words),
        *(core.rotations.i_load.p[name].eq(value) for name, value in core.units.turn.items()),
        core.position.o.ready.eq(core.rotations.i_load.ready),
    ]
    return hidden_beats


def attend(m, core):
    """Rotate the array's sums for attention, whose command waits for the scales."""
    config, fields, attention = core.config, core.units.fields["attend"], core.attention
    sums, rotation, products = core.array_sums, core.rotation, core.products
    blocks = fields.n >> config.array.rows.bit_length() - 1
    # Those of one KV head, if they come so.
    queries = (fields.shared * config.attention.attention.queries if config.attention.grouped
               else fields.heads)
    core.units.offer("rotation", rotation.i_command, attend={
        "heads": queries, "kv_heads": fields.kv_heads, "blocks": blocks})
    core.units.offer("turns", core.rotations.i_read, attend={
        "passes": fields.heads + fields.kv_heads, **core.units.turn})
    m.d.comb += [
        rotation.i_turns.payload.eq(core.rotations.o.payload),
        rotation.i_turns.valid.eq(core.rotations.o.valid),
        core.rotations.o.ready.eq(rotation.i_turns.ready),
        *(to.eq(total) for to, total in zip(rotation.i.p, sums.p.sums)),
    ]
    with m.If(core.units.op["attend"]):
        m.d.comb += [rotation.i.valid.eq(sums.valid), sums.ready.eq(rotation.i.ready),
                     products.o.ready.eq(attention.i_command.ready)]
    wiring.connect(m, rotation.o, attention.i)

    key, value, query = (products.o.p[n] for n in range(3))
    commanded = core.units.offer("attention", attention.i_command, attend={
        "when": products.o.valid, "slot": core.i_token.p.slot, "stream": fields.stream,
        "heads": fields.heads, "kv_heads": fields.kv_heads, "n": fields.n,
        "beats": core.beats(fields.n), "words": fields.words, "passes": fields.passes,
        "shared": fields.shared, "score_scale": fields.score_scale,
        "query_bits": config.attention.attention.query_bits, **core.joined[2],
        "query_scale": finer(m, core, query, "query"),
        "key_scale": finer(m, core, key, "key"), "value_scale": value})
    core.units.flag("joined", attention.o_scale.valid & attention.o_scale.ready, "attend")
    m.d.comb += attention.o_scale.ready.eq(core.units.op["attend"])
    return commanded


def finer(m, core, scale, name):
    """Return a scale of words that have more fraction bits: too small a one is zero."""
    least = -(1 << EXPONENT_BITS - 1)
    power, out = Signal(signed(EXPONENT_BITS + 1)), Signal(SMALL_FLOAT, name=f"{name}_scale")
    m.d.comb += power.eq(scale.e - core.config.rotation.extra_bits)
    with m.If((scale.m != 0) & (power >= least)):
        m.d.comb += [out.m.eq(scale.m), out.e.eq(power)]
    return out


def feed(m, core):
    """Give gates to what fetches the up rows."""
    fields, codes = core.units.fields["feed_forward"], core.units.fields["quantise"]
    sums, gate_up, command = core.array_sums, core.gate_up, core.gate_up.i_command
    multiplied = core.units.flag("multiplied", core.units.op["feed_forward"] & command.valid
                                 & command.ready, "feed_forward")
    early = core.units.op["quantise"] if core.units.token is None else C(0, 1)
    # Its activations come with the codes, if those are one token's.
    m.d.comb += [
        command.valid.eq(early & (codes.up_blocks != 0)
                         | core.units.op["feed_forward"] & ~multiplied),
        command.p.blocks.eq(Mux(early, codes.up_blocks, fields.up_blocks)),
        command.p.n.eq(fields.n), command.p.peak_bits.eq(fields.peak_bits),
        command.p.constants.gate.eq(fields.gate_scale),
        command.p.constants.up.eq(fields.up_scale),
        *(gate.eq(total) for gate, total in zip(gate_up.i_gate.p.gate, sums.p.sums)),
        gate_up.i_gate.p.last.eq(sums.p.last), gate_up.i_scale.p.eq(core.scale),
    ]
    given = core.units.flag("scale_given", gate_up.i_scale.valid & gate_up.i_scale.ready)
    with m.If(core.units.op["feed_forward"]):
        m.d.comb += [gate_up.i_scale.valid.eq(core.scaled & ~given),
                     gate_up.i_gate.valid.eq(sums.valid),
                     sums.ready.eq(gate_up.i_gate.ready)]


def head(m, core):
    """Logits and the token that follows."""
    plane_sum, sampler, fields = core.plane_sum, core.sampler, core.units.fields["head"]
    core.units.offer("planes", plane_sum.i_command, head={"vocab": fields.vocab})
    scaled = sampler.i_scale.valid & sampler.i_scale.ready
    core.units.flag("logits_scaled", scaled, "head")
    chosen = core.units.flag("chosen", core.o_token.valid & core.o_token.ready, "head")
    with m.If(scaled):
        m.d.sync += core.o_logit_scale.eq(sampler.i_scale.p)
    with m.If(core.units.op["head"]):
        m.d.comb += [plane_sum.i.valid.eq(core.sums.o.valid),
                     core.sums.o.ready.eq(plane_sum.i.ready),
                     sampler.i_scale.valid.eq(core.products.o.valid),
                     core.products.o.ready.eq(sampler.i_scale.ready)]
    wiring.connect(m, plane_sum.o, sampler.i)
    m.d.comb += [
        *(to.eq(total) for to, total in zip(plane_sum.i.p, core.sums.o.p.sums)),
        sampler.i_scale.p.eq(core.products.o.p[0]),
        core.o_logit.valid.eq(sampler.i.valid & sampler.i.ready),
        core.o_logit.logit.eq(plane_sum.o.p.logit), core.o_logit.last.eq(plane_sum.o.p.last),
        core.o_token.valid.eq(sampler.o.valid & ~chosen),
        core.o_token.p.token.eq(sampler.o.p.token),
        sampler.o.ready.eq(core.o_token.ready & ~chosen),
        sampler.sampling.eq(core.sampling), sampler.load_seed.eq(core.load_seed),
        sampler.seed.eq(core.seed), core.random_state.eq(sampler.random_state),
    ]
