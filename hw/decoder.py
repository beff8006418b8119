# SPDX-License-Identifier: Apache-2.0
"""The decoder core: one token of a compiled model, from its number to the number of the next."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.decoder_config import DecoderConfig
from hw.attention.cached_attention import CachedAttention
from hw.control import chunk, joins
from hw.control.cycle_meter import COUNTS, CycleMeter
from hw.control.dispatch import Dispatch
from hw.control.scale_products import ScaleProducts
from hw.control.sequencer import Sequencer
from hw.control.slack import Slack
from hw.control.token_run import TOKEN_BITS, TokenRun
from hw.ffn.code_packer import CodePacker
from hw.ffn.gate_up import GateUp
from hw.head.embedding_row import EmbeddingRow
from hw.head.plane_sum import PlaneSum
from hw.head.sampler import Sampler
from hw.image.burst_address import BurstAddress
from hw.image.hub import ImageHub
from hw.image.port import beat_stream, burst_stream
from hw.image.trit_port import TritPort, unpacked_layout
from hw.image.vector_reader import VectorReader
from hw.mac.digit_words import DigitWords
from hw.mac.ternary_array import TernaryArray
from hw.quant.code_encoder import Format
from hw.quant.quick_float_unit import QuickFloatUnit
from hw.quant.request_arbiter import RequestArbiter
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.sparse.masked_linear import MaskedLinear
from hw.vector.residual_stream import Action, ResidualStream
from hw.vector.rotation import Rotation
from hw.vector.token_store import TokenStore

__all__ = ["Decoder"]

READERS = ("program", "embedding", "rotations", "dense", "gains", "up", "columns")
"""Readers of the image: who goes first when several ask."""

CACHE_PORTS = ("o_save", "i_restore", "errors", "corrected", "clear_errors", "lengths")
"""Ports of the KV cache that are the decoder's too."""


class Decoder(wiring.Component):
    """Runs a compiled model's program for one token after another.

    Instructions go one after the other; inside one, units are joined by streams.  Weights, gains,
    tables and the program come through one port of one beat a cycle, whose trits are unpacked at
    the port.  Every engine (the array, the up rows, the columns of Wo and Wdown) takes a beat a
    cycle.  There is one quantiser, one path of masked columns, one small-float unit beside those of
    attention.  :mod:`golden_model.exact` has the values, ``docs/program.md`` the instructions.

    The next token is taken when the one before is accepted.  With ``config.array.batch`` above 1 a
    run may be of several tokens of one sequence: every instruction has a round for each of them,
    what the array reads is fetched once for all, and the last one's successor is made.

    Members
    -------
    i_token : :py:`In(stream.Signature(token_layout(config.token_run)))`
        A token of a sequence and its position there.  Accepted when its keys and values are in the
        cache and, unless `skip_head` is set, its successor was taken.
    program : :py:`In(program_layout(config.token_run))`
    o_token : :py:`Out(stream.Signature(StructLayout({"token": 24})))`
        The token that follows.
    sampling, load_seed, seed, random_state
        Of :class:`hw.head.sampler.Sampler`.
    o_logit : :py:`Out(StructLayout({"valid", "logit", "last"}))`
        For an observer: logits in the cycles in which they are made.
    o_logit_scale : :py:`Out(SMALL_FLOAT)`
        Their scale, from the first one on.
    o_request, i_beats
        The image; the first beat comes a cycle after its request at the earliest.
    i_control, o_save, i_restore, errors, corrected, clear_errors, lengths
        Of :class:`hw.kv.cache.KvCache`.  Control commands are taken between two tokens.
    fault : :py:`Out(1)`
        The program had an opcode that there is not; stands until the next token.  The token ends
        there, without a successor, and does not count in the cache.
    token_range : :py:`Out(1)`
        Pulse: the token is outside the vocabulary.  Token 0 stands in for it.
    phase, layer : :py:`Out(8)`
        Opcode at work, 0 if none, and the layer of the latest ``attend``.
    busy, progress : :py:`Out(1)`
        A token is in work; a beat came or an instruction ended.
    counts : :py:`Out(COUNTS)`
        Of :class:`hw.control.cycle_meter.CycleMeter`.
    """

    def __init__(self, config: DecoderConfig):
        self.config = config
        self.attention = CachedAttention(config.attention)
        self.run, self.sequencer = TokenRun(config.token_run), Sequencer(config.sequencer)
        self.meter, self.hub = CycleMeter(config.port), ImageHub(config.hub)
        self.trits, self.embedding = TritPort(config.trit_port), EmbeddingRow(config.embedding_row)
        self.position = BurstAddress(config.position_address)
        self.rotations, self.gains = VectorReader(config.rotations), VectorReader(config.gains)
        self.residual = ResidualStream(config.residual)
        self.masked = MaskedLinear(config.masked_linear)
        self.array, self.digits = TernaryArray(config.engine), DigitWords(config.engine)
        # No path of logic from who waits for sums or words through the engines to the memory.
        self.weights, self.sums, self.attended = (Slack(port.payload.shape()) for port in (
            self.array.i_w, self.array.o, self.attention.o))
        self.array_packer, self.up_packer = (CodePacker(packer) for packer in (
            config.array_packer, config.up_packer))
        self.rotation, self.gate_up = Rotation(config.rotation), GateUp(config.gate_up)
        self.up, self.columns = map(BurstAddress, (config.up_address, config.column_address))
        self.column_bursts, self.column_weights = (Slack(port.payload.shape()) for port in (
            self.columns.o, self.masked.i_weights))
        self.plane_sum, self.sampler = PlaneSum(config.plane_sum), Sampler(config.sampler)
        self.products, self.unit = ScaleProducts(config.products), QuickFloatUnit(config.unit)
        self.arbiter = RequestArbiter(config.arbiter)
        for name, store in config.stores.items():
            setattr(self, name, TokenStore(store))
        cache, run = self.attention.signature.members, self.run.signature.members
        sampler = self.sampler.signature.members
        super().__init__({
            **{name: run[name] for name in ("i_token", "program", "i_control", "busy")},
            **{name: cache[name] for name in CACHE_PORTS},
            **{name: sampler[name] for name in ("sampling", "load_seed", "seed", "random_state")},
            "o_token": Out(stream.Signature(data.StructLayout({"token": TOKEN_BITS}))),
            "o_logit": Out(data.StructLayout({
                "valid": 1, "logit": signed(config.plane_sum.logit_bits), "last": 1})),
            "o_logit_scale": Out(SMALL_FLOAT),
            "o_request": Out(burst_stream(config.port)),
            "i_beats": In(beat_stream(config.port)),
            "fault": Out(1), "token_range": Out(1), "phase": Out(8), "layer": Out(8),
            "progress": Out(1), "counts": Out(COUNTS),
        })

    def elaborate(self, platform):
        m = Module()
        for name, part in vars(self).items():
            if isinstance(part, wiring.Component):
                m.submodules[name] = part
        self.units = Dispatch(m, self.sequencer.o, self.sequencer.op, self.sequencer.others,
                              chunk.tokens_of(self), self.config.array.batch)
        self.token(m)
        self.image(m)
        self.scales(m)
        self.hidden_beats = joins.embed(m, self)
        self.array_sums, self.joined = chunk.stored_sums(m, self), chunk.attended(m, self)
        self.quantise(m)
        self.codes(m)
        self.attending = joins.attend(m, self)
        joins.feed(m, self)
        joins.head(m, self)
        self.units.close()
        self.observe(m)
        return m

    def token(self, m):
        """Connect what runs the program, and the cache's own ports."""
        run, sequencer, attention = self.run, self.sequencer, self.attention
        for outer, inner in ((self.i_token, run.i_token), (self.i_control, run.i_control),
                             (self.i_restore, attention.i_restore)):
            wiring.connect(m, wiring.flipped(outer), inner)
        wiring.connect(m, attention.o_save, wiring.flipped(self.o_save))
        wiring.connect(m, run.o_run, sequencer.i_run)
        wiring.connect(m, run.o_control, attention.i_control)
        m.d.comb += [
            run.program.eq(self.program), run.idle.eq(attention.idle),
            run.fault.eq(sequencer.fault), self.fault.eq(sequencer.fault),
            self.busy.eq(run.busy), attention.clear_errors.eq(self.clear_errors),
            *(getattr(self, name).eq(getattr(attention, name))
              for name in ("errors", "corrected", "lengths")),
        ]

    def image(self, m):
        """Connect the readers, and the addresses of rows and columns."""
        readers = dict(zip(READERS, zip(self.hub.i_request, self.hub.o)))
        layout = unpacked_layout(self.config.trit_port)
        wiring.connect(m, self.hub.o_request, wiring.flipped(self.o_request))
        wiring.connect(m, wiring.flipped(self.i_beats), self.trits.i)
        m.d.comb += [self.hub.i_beats.payload.eq(self.trits.o.payload),
                     self.hub.i_beats.valid.eq(self.trits.o.valid),
                     self.trits.o.ready.eq(self.hub.i_beats.ready)]
        for name, request, beats, what in (
                ("program", self.sequencer.o_request, self.sequencer.i_beats, "packed"),
                ("embedding", self.embedding.o_request, self.embedding.i, "trits"),
                ("rotations", self.rotations.o_request, self.rotations.i_beats, "packed"),
                ("dense", None, self.weights.i, "trits"),
                ("gains", self.gains.o_request, self.gains.i_beats, "packed"),
                ("up", self.up.o, self.gate_up.i_weights, "trits"),
                ("columns", self.column_bursts.o, self.column_weights.i, "trits")):
            asked, given = readers[name]
            if request is not None:
                wiring.connect(m, request, asked)
            m.d.comb += [beats.valid.eq(given.valid), given.ready.eq(beats.ready),
                         beats.payload.eq(data.View(layout, given.payload)[what])]
        wiring.connect(m, self.weights.o, self.array.i_w)
        wiring.connect(m, self.columns.o, self.column_bursts.i)
        wiring.connect(m, self.column_weights.o, self.masked.i_weights)
        wiring.connect(m, self.array.o, self.sums.i)
        fields = self.units.fields
        gate, attend, head = (fields[name] for name in ("feed_forward", "attend", "head"))
        self.units.offer(
            "dense", readers["dense"][0], once=True,
            attend={"address": attend.address, "beats": attend.beats},
            feed_forward={"address": gate.gate_address, "beats": gate.gate_beats},
            head={"address": head.address, "beats": head.beats})
        m.d.comb += [self.up.base.eq(gate.up_address), self.up.beats.eq(gate.up_blocks),
                     self.columns.base.eq(gate.down_address),
                     self.columns.beats.eq(gate.down_blocks)]
        with m.If(self.units.choice["output"]):
            m.d.comb += [self.columns.base.eq(fields["output"].address),
                         self.columns.beats.eq(fields["output"].blocks)]
        wiring.connect(m, self.gate_up.o_row, self.up.i)
        wiring.connect(m, self.masked.o_request, self.columns.i)

    def scales(self, m):
        """Share the small-float unit; keep the scale of the newest codes and multiply it."""
        clients = [(self.masked.o_unit_request, self.masked.i_unit_response),
                   (self.gate_up.o_request, self.gate_up.i_response),
                   (self.products.o_request, self.products.i_response),
                   (self.sampler.o_request, self.sampler.i_response)]
        for n, (request, response) in enumerate(clients):
            wiring.connect(m, request, self.arbiter.i_request[n])
            wiring.connect(m, self.arbiter.o_response[n], response)
        wiring.connect(m, self.arbiter.o_request, self.unit.i)
        wiring.connect(m, self.unit.o, self.arbiter.i_response)

        self.scale, self.scaled = Signal(SMALL_FLOAT, reset_less=True), Signal()
        self.codes_scale = chunk.CodesScale(m, self)
        self.awaited = Signal()  # of codes that are being made
        with m.If(self.awaited & self.masked.o_scale.valid):
            m.d.sync += [*self.codes_scale.keep(self.masked.o_scale.p), self.awaited.eq(0)]
        attend, head = self.units.fields["attend"], self.units.fields["head"]
        self.units.offer("products", self.products.i,
                   attend={"when": self.scaled, "scale": self.scale, "count": 3,
                           "factors": Cat(attend.alpha_k, attend.alpha_v, attend.alpha_q)},
                   head={"when": self.scaled, "scale": self.scale, "count": 1,
                         "factors": head.scale})

    def beats(self, n):
        """Beats of the vector units that hold `n` elements."""
        return (n + self.config.lanes - 1) >> self.config.lanes.bit_length() - 1

    def burst(self, fields):
        """Beats of a norm's gains."""
        port = self.config.port
        return Cat(fields.gain[:port.address_bits], fields.gain_beats,
                   C(0, port.count_bits - len(fields.gain_beats)))

    def quantise(self, m):
        """Connect the one quantiser and what its words, gains and sums come from and go to."""
        residual, masked, gains = self.residual, self.masked, self.gains
        codes, wo, ffn, embed = (self.units.fields[name] for name in (
            "quantise", "output", "feed_forward", "embed"))
        fields = {"quantise": codes, "output": wo, "feed_forward": ffn}
        joined = chunk.Kept(self, "joined")
        with m.If(self.attention.o_scale.valid & self.attention.o_scale.ready):
            m.d.sync += joined.now.eq(self.attention.o_scale.p)

        added = masked.o_scale.valid & ~self.awaited
        add = {"action": Action.ADD, "beats": self.hidden_beats, "scale": masked.o_scale.p,
               "when": added, **self.units.turn}
        self.units.offer("residual", residual.i_command,
                   embed={"action": Action.LOAD, "beats": self.beats(embed.n),
                          "scale": embed.scale, "shift": embed.shift, **self.units.turn},
                   # A scale that has no say here: one choice less.
                   quantise={**add, "when": 1, "action": Action.READ, "shift": wo.shift},
                   output={**add, "shift": wo.shift}, feed_forward={**add, "shift": ffn.shift})
        m.d.comb += masked.o_scale.ready.eq(
            self.awaited | residual.i_command.valid & residual.i_command.ready)
        m.d.comb += [to.eq(one) for to, one in zip(residual.i_sums.payload, masked.o.p.sums)]
        m.d.comb += [residual.i_sums.valid.eq(masked.o.valid),
                     masked.o.ready.eq(residual.i_sums.ready)]

        loaded = self.units.offer("gains_load", gains.i_load, once=True, **{
            name: {"burst": self.burst(of), "words": self.beats(of.n)}
            for name, of in fields.items()})
        self.units.offer("gains_read", gains.i_read, **{
            name: {"when": loaded, "passes": 2} for name in fields})
        norm = {name: {field: of[field] for field in ("n", "levels", "norm_scale", "eps")}
                | {"norm": 1} for name, of in fields.items()}
        scale = self.gate_up.o_scale
        self.units.offer("masked", masked.i_command,
                   quantise={**norm["quantise"], "codes": 1, "format": codes.format,
                             "scale": codes.scale},
                   output={**norm["output"], "format": Format.INT8, "scale": joined.now, "top_k": 1,
                           "keep": wo.keep, "blocks": wo.blocks, "alpha": wo.alpha},
                   feed_forward={**norm["feed_forward"], "format": Format.INT8,
                                 "when": scale.valid, "scale": scale.p,
                                 "blocks": ffn.down_blocks, "alpha": ffn.alpha})
        m.d.comb += scale.ready.eq(masked.i_command.valid & masked.i_command.ready)
        with m.If(self.units.op["quantise"] & masked.i_command.valid & masked.i_command.ready):
            m.d.sync += [self.awaited.eq(1), *self.codes_scale.ask()]

        wiring.connect(m, self.attention.o, self.attended.i)
        op, choice, offered = self.units.op, self.units.choice, Signal()
        ports = {"quantise": residual.o, "output": self.joined[0], "feed_forward": self.gate_up.o}
        m.d.comb += [
            offered.eq(Cat(op[name] & port.valid for name, port in ports.items()).any()),
            *(port.ready.eq(op[name] & masked.i.ready & gains.o.valid)
              for name, port in ports.items()),
            masked.i.valid.eq(offered & gains.o.valid),
            gains.o.ready.eq(offered & masked.i.ready),
            # Whatever is not valid is as good as any other: two choices for three.
            Value.cast(masked.i.p.x).eq(Mux(choice["quantise"], Value.cast(residual.o.p.words), Mux(
                choice["output"], Value.cast(self.joined[1]),
                Value.cast(self.gate_up.o.p.words)))),
            Value.cast(masked.i.p.gain).eq(gains.o.payload),
        ]

    def codes(self, m):
        """Give codes of the residual stream to the array's next run and to the up rows."""
        codes, masked = self.units.fields["quantise"], self.masked
        up, int8, two = Signal(), Signal(), Signal()
        command = self.array.i_cmd.p
        m.d.comb += [up.eq(codes.up_blocks != 0), int8.eq(codes.format == Format.INT8),
                     # One assignment: a process that drives constants alone never runs.
                     Value.cast(command).eq(Cat(
                         codes.blocks[:len(command.blocks)], codes.tiles[:len(command.tiles)],
                         ~int8, int8, C(0, 1), *chunk.array_tokens(self)))]
        with m.If(self.units.op["quantise"]):
            m.d.sync += two.eq(int8)
        self.units.offer("loaded", self.array.i_cmd, once=True, quantise={})
        given = masked.o_codes
        self.units.flag("coded", given.valid & given.ready & given.p.last, "quantise")
        one, other = self.array_packer, self.up_packer
        m.d.comb += [
            one.i.p.eq(given.p), other.i.p.eq(given.p),
            one.i.valid.eq(given.valid & (other.i.ready | ~up)),
            other.i.valid.eq(given.valid & one.i.ready & up),
            given.ready.eq(one.i.ready & (other.i.ready | ~up)),
            self.digits.two.eq(two),
        ]
        wiring.connect(m, one.o, self.digits.i)
        wiring.connect(m, self.digits.o, self.array.i_x)
        chunk.up_codes(m, self)

    def observe(self, m):
        """Say what is at work, and what a cycle was."""
        instruction, meter = self.sequencer.o, self.meter
        weights = Cat(port.valid & port.ready for name, port in zip(READERS, self.hub.o)
                      if name in ("embedding", "dense", "up", "columns"))
        m.d.comb += [
            meter.busy.eq(self.busy), meter.weights.eq(weights.any()),
            meter.attending.eq(self.units.op["attend"] & self.attending),
            meter.asked.eq(self.o_request.valid & self.o_request.ready),
            meter.beats.eq(self.o_request.p.beats), meter.offered.eq(self.i_beats.valid),
            meter.taken.eq(self.i_beats.valid & self.i_beats.ready),
            self.counts.eq(meter.counts),
            self.phase.eq(Mux(instruction.valid, instruction.p.opcode, 0)),
            self.progress.eq(meter.taken | self.units.round | self.i_token.ready),
        ]
        with m.If(self.units.op["attend"]):
            m.d.sync += self.layer.eq(self.units.fields["attend"].layer)
