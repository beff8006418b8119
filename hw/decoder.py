# SPDX-License-Identifier: Apache-2.0
"""The decoder core: one token of a compiled model, from its number to the number of the next."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.decoder_config import DecoderConfig
from golden_model.instruction_config import FIELDS, OPCODES
from golden_model.quant_config import EXPONENT_BITS
from hw.attention.cached_attention import CachedAttention
from hw.control.scale_products import ScaleProducts
from hw.control.sequencer import Sequencer
from hw.ffn.code_packer import CodePacker
from hw.ffn.gate_up import GateUp
from hw.head.argmax import Argmax
from hw.head.embedding_row import EmbeddingRow
from hw.head.plane_sum import PlaneSum
from hw.image.burst_address import BurstAddress
from hw.image.hub import ImageHub
from hw.image.port import beat_stream, burst_stream
from hw.image.trit_port import TritPort, unpacked_layout
from hw.image.vector_reader import VectorReader
from hw.kv.layouts import Operation as Control
from hw.mac.digit_words import DigitWords
from hw.mac.ternary_array import TernaryArray
from hw.quant.code_encoder import Format
from hw.quant.request_arbiter import RequestArbiter
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import SmallFloatUnit
from hw.sparse.masked_linear import MaskedLinear
from hw.vector.residual_stream import Action, ResidualStream
from hw.vector.rotation import Rotation

__all__ = ["COUNTS", "Decoder", "TOKEN_BITS"]

TOKEN_BITS = 24
POSITION_BITS = 20
COUNTS = data.StructLayout({"stall_weights": 1, "stall_vector": 1, "stall_kv": 1,
                            "weight_beats": 1})
"""What a busy cycle was: one of these."""

READERS = ("program", "embedding", "rotations", "dense", "gains", "up", "columns")
"""Readers of the image, who goes first when several ask."""

CACHE_PORTS = ("o_save", "i_restore", "errors", "corrected", "clear_errors", "lengths")


class Decoder(wiring.Component):
    """Runs a model's program for one token after another."""

    def __init__(self, config: DecoderConfig):
        self.config = config
        self.attention = attention = CachedAttention(config.attention)
        cache = attention.signature.members
        slots = range(max(2, config.attention.cache.slots))
        self.sequencer, self.hub = Sequencer(config.sequencer), ImageHub(config.hub)
        self.trits, self.embedding = TritPort(config.trit_port), EmbeddingRow(config.embedding_row)
        self.position = BurstAddress(config.position_address)
        self.rotations, self.gains = VectorReader(config.rotations), VectorReader(config.gains)
        self.residual, self.masked = (ResidualStream(config.residual),
                                      MaskedLinear(config.masked_linear))
        self.array, self.digits = TernaryArray(config.engine), DigitWords(config.engine)
        self.array_packer, self.up_packer = (CodePacker(config.array_packer),
                                             CodePacker(config.up_packer))
        self.rotation, self.gate_up = Rotation(config.rotation), GateUp(config.gate_up)
        self.up, self.columns = (BurstAddress(config.up_address),
                                 BurstAddress(config.column_address))
        self.plane_sum, self.argmax = (PlaneSum(config.plane_sum),
                                       Argmax(config.plane_sum.argmax))
        self.products, self.unit = (ScaleProducts(config.products), SmallFloatUnit(config.unit))
        self.arbiter = RequestArbiter(config.arbiter)
        super().__init__({
            "i_token": In(stream.Signature(data.StructLayout({
                "token": TOKEN_BITS, "slot": slots, "position": POSITION_BITS, "skip_head": 1}))),
            "program": In(data.StructLayout({
                "address": config.port.address_bits, "count": config.sequencer.count_bits,
                "head_count": config.sequencer.count_bits})),
            "o_token": Out(stream.Signature(data.StructLayout({"token": TOKEN_BITS}))),
            "o_logit": Out(data.StructLayout({
                "valid": 1, "logit": signed(config.plane_sum.logit_bits), "last": 1})),
            "o_logit_scale": Out(SMALL_FLOAT),
            "o_request": Out(burst_stream(config.port)),
            "i_beats": In(beat_stream(config.port)),
            "i_control": cache["i_control"], **{name: cache[name] for name in CACHE_PORTS},
            "fault": Out(1), "token_range": Out(1), "phase": Out(8), "layer": Out(8),
            "busy": Out(1), "progress": Out(1), "counts": Out(COUNTS),
        })

    def elaborate(self, platform):
        m = Module()
        for name, part in vars(self).items():
            if isinstance(part, wiring.Component):
                m.submodules[name] = part
        self.decode(m)
        self.image(m)
        self.scales(m)
        self.embed(m)
        self.quantise(m)
        self.attend(m)
        self.feed(m)
        self.head(m)
        self.token(m)
        self.observe(m)
        with m.If(self.op["end"]):
            m.d.comb += self.done.eq(1)
        for name, flags in self.needs.items():
            with m.If(self.op[name]):
                m.d.comb += self.done.eq(Cat(flags).all())
        m.d.comb += self.sequencer.o.ready.eq(self.done)
        return m

    def decode(self, m):
        """Make a signal of each opcode, and a view of its fields."""
        instruction = self.sequencer.o
        self.op, self.fields, self.done = {}, {}, Signal()
        self.needs = {name: [] for name in FIELDS if name != "end"}
        for name, code in OPCODES.items():
            layout = data.StructLayout(FIELDS[name])
            self.op[name] = Signal(name=f"op_{name}")
            self.fields[name] = data.View(layout, instruction.p.fields[:layout.size])
            m.d.comb += self.op[name].eq(instruction.valid & (instruction.p.opcode == code))

    def ends(self, m, name, event, *instructions):
        """Return a flag that stands from `event` to the end of the instruction, which waits for it.
        """
        flag = Signal(name=name)
        with m.If(event):
            m.d.sync += flag.eq(1)
        with m.If(self.done):
            m.d.sync += flag.eq(0)
        for each in instructions:
            self.needs[each].append(flag)
        return flag

    def offer(self, m, name, port, **instructions):
        """Offer a stream's payload once in each of some instructions, `when` it may be offered."""
        flag = self.ends(m, f"{name}_done", port.valid & port.ready, *instructions)
        for instruction, fields in instructions.items():
            fields = dict(fields)
            with m.If(self.op[instruction]):
                m.d.comb += port.valid.eq(fields.pop("when", 1) & ~flag)
                m.d.comb += [port.p[field].eq(value) for field, value in fields.items()]
        return flag

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
                ("dense", None, self.array.i_w, "trits"),
                ("gains", self.gains.o_request, self.gains.i_beats, "packed"),
                ("up", self.up.o, self.gate_up.i_weights, "trits"),
                ("columns", self.columns.o, self.masked.i_weights, "trits")):
            asked, given = readers[name]
            if request is not None:
                wiring.connect(m, request, asked)
            m.d.comb += [beats.valid.eq(given.valid), given.ready.eq(beats.ready),
                         beats.payload.eq(data.View(layout, given.payload)[what])]
        gate, attend, head = (self.fields[name] for name in ("feed_forward", "attend", "head"))
        self.dense = self.offer(
            m, "dense", readers["dense"][0],
            attend={"address": attend.address, "beats": attend.beats},
            feed_forward={"address": gate.gate_address, "beats": gate.gate_beats},
            head={"address": head.address, "beats": head.beats})
        m.d.comb += [self.up.base.eq(gate.up_address), self.up.beats.eq(gate.up_blocks),
                     self.columns.base.eq(gate.down_address),
                     self.columns.beats.eq(gate.down_blocks)]
        with m.If(self.op["output"]):
            m.d.comb += [self.columns.base.eq(self.fields["output"].address),
                         self.columns.beats.eq(self.fields["output"].blocks)]
        wiring.connect(m, self.gate_up.o_row, self.up.i)
        wiring.connect(m, self.masked.o_request, self.columns.i)

    def scales(self, m):
        """Share the small-float unit; keep the scale of the newest codes, and make products of it.
        """
        clients = [(self.masked.o_unit_request, self.masked.i_unit_response),
                   (self.gate_up.o_request, self.gate_up.i_response),
                   (self.products.o_request, self.products.i_response)]
        if hasattr(self.attention, "o_request"):
            clients.append((self.attention.o_request, self.attention.i_response))
        for n, (request, response) in enumerate(clients):
            wiring.connect(m, request, self.arbiter.i_request[n])
            wiring.connect(m, self.arbiter.o_response[n], response)
        wiring.connect(m, self.arbiter.o_request, self.unit.i)
        wiring.connect(m, self.unit.o, self.arbiter.i_response)

        self.scale, self.scaled = Signal(SMALL_FLOAT, reset_less=True), Signal()
        self.awaited = Signal()  # of codes that are being made
        with m.If(self.awaited & self.masked.o_scale.valid):
            m.d.sync += [self.scale.eq(self.masked.o_scale.p), self.scaled.eq(1),
                         self.awaited.eq(0)]
        attend, head = self.fields["attend"], self.fields["head"]
        self.offer(m, "products", self.products.i,
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

    def embed(self, m):
        """Load a row of the embedding into the residual stream, and the position's rotations."""
        fields, token = self.fields["embed"], self.i_token.p
        beats = self.beats(fields.n)
        outside = Signal()
        self.hidden_beats = Signal.like(self.residual.i_command.p.beats)
        m.d.comb += [outside.eq(token.token >= fields.vocab),
                     self.token_range.eq(self.op["embed"] & outside & self.done)]
        with m.If(self.op["embed"]):
            m.d.sync += self.hidden_beats.eq(beats)
        self.offer(m, "row", self.embedding.i_command, embed={
            "token": Mux(outside, 0, token.token), "address": fields.address,
            "tiles": fields.tiles, "beats": beats})
        wiring.connect(m, self.embedding.o, self.residual.i_codes)

        m.d.comb += [self.position.i.payload.eq(token.position),
                     self.position.base.eq(fields.table),
                     self.position.beats.eq(fields.table_beats)]
        asked = self.ends(m, "position_asked", self.position.i.valid & self.position.i.ready)
        loaded = self.ends(m, "turns_loaded", self.rotations.i_load.valid
                           & self.rotations.i_load.ready, "embed")
        m.d.comb += [
            self.position.i.valid.eq(self.op["embed"] & ~asked),
            self.rotations.i_load.valid.eq(self.position.o.valid & ~loaded),
            self.rotations.i_load.p.burst.eq(self.position.o.p),
            self.rotations.i_load.p.words.eq(fields.table_words),
            self.position.o.ready.eq(self.rotations.i_load.ready),
        ]

    def quantise(self, m):
        """Connect the one quantiser: codes of the residual stream, and the paths of Wo and Wdown.
        """
        residual, masked, gains = self.residual, self.masked, self.gains
        codes, wo, ffn, embed = (self.fields[name] for name in (
            "quantise", "output", "feed_forward", "embed"))
        fields = {"quantise": codes, "output": wo, "feed_forward": ffn}
        joined = Signal(SMALL_FLOAT, reset_less=True)
        with m.If(self.attention.o_scale.valid & self.attention.o_scale.ready):
            m.d.sync += joined.eq(self.attention.o_scale.p)

        added = masked.o_scale.valid & ~self.awaited
        add = {"action": Action.ADD, "beats": self.hidden_beats, "scale": masked.o_scale.p,
               "when": added}
        self.offer(m, "residual", residual.i_command,
                   embed={"action": Action.LOAD, "beats": self.beats(embed.n),
                          "scale": embed.scale, "shift": embed.shift},
                   quantise={"action": Action.READ, "beats": self.hidden_beats},
                   output={**add, "shift": wo.shift}, feed_forward={**add, "shift": ffn.shift})
        m.d.comb += masked.o_scale.ready.eq(
            self.awaited | residual.i_command.valid & residual.i_command.ready)
        m.d.comb += [to.eq(one) for to, one in zip(residual.i_sums.payload, masked.o.p.sums)]
        m.d.comb += [residual.i_sums.valid.eq(masked.o.valid),
                     masked.o.ready.eq(residual.i_sums.ready)]

        loaded = self.offer(m, "gains_load", gains.i_load, **{
            name: {"burst": self.burst(of), "words": self.beats(of.n)}
            for name, of in fields.items()})
        self.offer(m, "gains_read", gains.i_read, **{
            name: {"when": loaded, "passes": 2} for name in fields})
        norm = {name: {field: of[field] for field in ("n", "levels", "norm_scale", "eps")}
                | {"norm": 1} for name, of in fields.items()}
        scale = self.gate_up.o_scale
        self.offer(m, "masked", masked.i_command,
                   quantise={**norm["quantise"], "codes": 1, "format": codes.format,
                             "scale": codes.scale},
                   output={**norm["output"], "format": Format.INT8, "scale": joined, "top_k": 1,
                           "keep": wo.keep, "blocks": wo.blocks, "alpha": wo.alpha},
                   feed_forward={**norm["feed_forward"], "format": Format.INT8,
                                 "when": scale.valid, "scale": scale.p,
                                 "blocks": ffn.down_blocks, "alpha": ffn.alpha})
        m.d.comb += scale.ready.eq(masked.i_command.valid & masked.i_command.ready)
        with m.If(self.op["quantise"] & masked.i_command.valid & masked.i_command.ready):
            m.d.sync += [self.awaited.eq(1), self.scaled.eq(0)]

        for name, port, words in (("quantise", residual.o, residual.o.p.words),
                                  ("output", self.attention.o, self.attention.o.p),
                                  ("feed_forward", self.gate_up.o, self.gate_up.o.p.words)):
            with m.If(self.op[name]):
                m.d.comb += [
                    Value.cast(masked.i.p.x).eq(Value.cast(words)),
                    masked.i.valid.eq(port.valid & gains.o.valid),
                    port.ready.eq(masked.i.ready & gains.o.valid),
                    gains.o.ready.eq(masked.i.ready & port.valid)]
        m.d.comb += Value.cast(masked.i.p.gain).eq(gains.o.payload)

        # Codes go to the array's next run and to the up rows.
        up, two = Signal(), Signal()
        m.d.comb += up.eq(codes.up_blocks != 0)
        with m.If(self.op["quantise"]):
            m.d.sync += two.eq(codes.format == Format.INT8)
        self.offer(m, "run", self.array.i_cmd, quantise={
            "blocks": codes.blocks, "tiles": codes.tiles,
            "digits": Mux(codes.format == Format.INT8, 2, 1)})
        m.d.comb += self.array.i_cmd.p.reuse.eq(0)
        self.ends(m, "coded", masked.o_codes.valid & masked.o_codes.ready & masked.o_codes.p.last,
                  "quantise")
        one, other = self.array_packer, self.up_packer
        m.d.comb += [
            one.i.p.eq(masked.o_codes.p), other.i.p.eq(masked.o_codes.p),
            one.i.valid.eq(masked.o_codes.valid & (other.i.ready | ~up)),
            other.i.valid.eq(masked.o_codes.valid & one.i.ready & up),
            masked.o_codes.ready.eq(one.i.ready & (other.i.ready | ~up)),
            self.digits.two.eq(two),
        ]
        wiring.connect(m, one.o, self.digits.i)
        wiring.connect(m, self.digits.o, self.array.i_x)
        wiring.connect(m, other.o, self.gate_up.i_vector)

    def attend(self, m):
        """Rotate the array's sums for attention, whose command waits for the scales."""
        config, fields, attention = self.config, self.fields["attend"], self.attention
        array, rotation, products = self.array, self.rotation, self.products
        blocks = fields.n >> config.array.rows.bit_length() - 1
        self.offer(m, "rotation", rotation.i_command, attend={
            "heads": fields.heads, "kv_heads": fields.kv_heads, "blocks": blocks})
        self.offer(m, "turns", self.rotations.i_read, attend={
            "passes": fields.heads + fields.kv_heads})
        m.d.comb += [
            rotation.i_turns.payload.eq(self.rotations.o.payload),
            rotation.i_turns.valid.eq(self.rotations.o.valid),
            self.rotations.o.ready.eq(rotation.i_turns.ready),
            *(to.eq(total) for to, total in zip(rotation.i.p, array.o.p.sums)),
        ]
        with m.If(self.op["attend"]):
            m.d.comb += [rotation.i.valid.eq(array.o.valid), array.o.ready.eq(rotation.i.ready),
                         products.o.ready.eq(attention.i_command.ready)]
        wiring.connect(m, rotation.o, attention.i)

        key, value, query = (products.o.p[n] for n in range(3))
        commanded = self.offer(m, "attention", attention.i_command, attend={
            "when": products.o.valid, "slot": self.i_token.p.slot, "stream": fields.stream,
            "heads": fields.heads, "kv_heads": fields.kv_heads, "n": fields.n,
            "beats": self.beats(fields.n), "words": fields.words, "passes": fields.passes,
            "shared": fields.shared, "score_scale": fields.score_scale,
            "query_bits": config.attention.attention.query_bits, "repeats": 2,
            "query_scale": self.finer(m, query, "query"),
            "key_scale": self.finer(m, key, "key"), "value_scale": value})
        self.ends(m, "joined", attention.o_scale.valid & attention.o_scale.ready, "attend")
        m.d.comb += attention.o_scale.ready.eq(self.op["attend"])
        self.attending = commanded

    def finer(self, m, scale, name):
        """Return a scale of words that have more fraction bits: too small a one is zero."""
        least = -(1 << EXPONENT_BITS - 1)
        power, out = Signal(signed(EXPONENT_BITS + 1)), Signal(SMALL_FLOAT, name=f"{name}_scale")
        m.d.comb += power.eq(scale.e - self.config.rotation.extra_bits)
        with m.If((scale.m != 0) & (power >= least)):
            m.d.comb += [out.m.eq(scale.m), out.e.eq(power)]
        return out

    def feed(self, m):
        """Give gates to what fetches the up rows."""
        fields, codes, gate_up = self.fields["feed_forward"], self.fields["quantise"], self.gate_up
        command, array = gate_up.i_command, self.array
        multiplied = self.ends(m, "multiplied", self.op["feed_forward"] & command.valid
                               & command.ready, "feed_forward")
        # Its activations come with the codes.
        m.d.comb += [
            command.valid.eq(self.op["quantise"] & (codes.up_blocks != 0)
                             | self.op["feed_forward"] & ~multiplied),
            command.p.blocks.eq(Mux(self.op["quantise"], codes.up_blocks, fields.up_blocks)),
            command.p.n.eq(fields.n), command.p.peak_bits.eq(fields.peak_bits),
            command.p.constants.gate.eq(fields.gate_scale),
            command.p.constants.up.eq(fields.up_scale),
            *(gate.eq(total) for gate, total in zip(gate_up.i_gate.p.gate, array.o.p.sums)),
            gate_up.i_gate.p.last.eq(array.o.p.last), gate_up.i_scale.p.eq(self.scale),
        ]
        given = self.ends(m, "scale_given", gate_up.i_scale.valid & gate_up.i_scale.ready)
        with m.If(self.op["feed_forward"]):
            m.d.comb += [gate_up.i_scale.valid.eq(self.scaled & ~given),
                         gate_up.i_gate.valid.eq(array.o.valid),
                         array.o.ready.eq(gate_up.i_gate.ready)]

    def head(self, m):
        """Logits and the token that follows."""
        plane_sum, argmax, fields = self.plane_sum, self.argmax, self.fields["head"]
        self.offer(m, "planes", plane_sum.i_command, head={"vocab": fields.vocab})
        scaled = self.ends(m, "logits_scaled", self.op["head"] & self.products.o.valid, "head")
        chosen = self.ends(m, "chosen", self.o_token.valid & self.o_token.ready, "head")
        m.d.comb += [to.eq(total) for to, total in zip(plane_sum.i.p, self.array.o.p.sums)]
        with m.If(self.op["head"]):
            m.d.comb += [plane_sum.i.valid.eq(self.array.o.valid),
                         self.array.o.ready.eq(plane_sum.i.ready), self.products.o.ready.eq(1)]
            with m.If(self.products.o.valid):
                m.d.sync += self.o_logit_scale.eq(self.products.o.p[0])
        m.d.comb += [
            argmax.i.payload.eq(plane_sum.o.payload),
            argmax.i.valid.eq(plane_sum.o.valid & scaled),
            plane_sum.o.ready.eq(argmax.i.ready & scaled),
            self.o_logit.valid.eq(argmax.i.valid & argmax.i.ready),
            self.o_logit.logit.eq(plane_sum.o.p.logit), self.o_logit.last.eq(plane_sum.o.p.last),
            self.o_token.valid.eq(argmax.o.valid & ~chosen),
            self.o_token.p.token.eq(argmax.o.p.token),
            argmax.o.ready.eq(self.o_token.ready & ~chosen),
        ]

    def token(self, m):
        """Run the program, then advance the cache; pass control commands between two tokens."""
        inner, outer, run = self.attention.i_control, self.i_control, self.sequencer.i_run
        m.d.comb += [run.p.address.eq(self.program.address),
                     run.p.count.eq(Mux(self.i_token.p.skip_head, self.program.head_count,
                                        self.program.count)),
                     self.fault.eq(self.sequencer.fault), inner.p.eq(outer.p)]
        with m.FSM() as machine:
            with m.State("IDLE"):
                m.d.comb += [inner.valid.eq(outer.valid), outer.ready.eq(inner.ready)]
                with m.If(self.i_token.valid & ~outer.valid & self.attention.idle):
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += run.valid.eq(1)
                with m.If(run.ready):
                    m.next = "ADVANCE"
                    with m.If(self.fault):
                        m.next = "DONE"
            with m.State("ADVANCE"):
                m.d.comb += [inner.valid.eq(1), inner.p.op.eq(Control.ADVANCE),
                             inner.p.slot.eq(self.i_token.p.slot)]
                with m.If(inner.ready):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.i_token.ready.eq(1)
                m.next = "IDLE"
        m.d.comb += self.busy.eq(~machine.ongoing("IDLE"))
        for name in CACHE_PORTS:
            port, mine = getattr(self.attention, name), getattr(self, name)
            if name in ("errors", "corrected", "lengths"):
                m.d.comb += mine.eq(port)
            elif name == "clear_errors":
                m.d.comb += port.eq(mine)
            elif name == "o_save":
                wiring.connect(m, port, wiring.flipped(mine))
            else:
                wiring.connect(m, wiring.flipped(mine), port)

    def observe(self, m):
        """Say what is at work, and what a cycle was."""
        op = self.sequencer.o
        asked = Signal(self.config.count_bits + 1)  # beats that are on their way
        came = self.i_beats.valid & self.i_beats.ready
        with m.If(self.o_request.valid & self.o_request.ready):
            m.d.sync += asked.eq(asked + self.o_request.p.beats - came)
        with m.Elif(came):
            m.d.sync += asked.eq(asked - 1)
        weights = Signal()
        for name, port in zip(READERS, self.hub.o):
            if name in ("embedding", "dense", "up", "columns"):
                with m.If(port.valid & port.ready):
                    m.d.comb += weights.eq(1)
        waits = (asked != 0) & ~self.i_beats.valid
        kv = self.op["attend"] & self.attending & (asked == 0)
        none = self.busy & ~weights
        m.d.comb += [
            self.phase.eq(Mux(op.valid, op.p.opcode, 0)),
            self.progress.eq(came | op.valid & op.ready | self.i_token.ready),
            self.counts.weight_beats.eq(self.busy & weights),
            self.counts.stall_weights.eq(none & waits),
            self.counts.stall_kv.eq(none & ~waits & kv),
            self.counts.stall_vector.eq(none & ~waits & ~kv),
        ]
        with m.If(self.op["attend"]):
            m.d.sync += self.layer.eq(self.fields["attend"].layer)
