# SPDX-License-Identifier: Apache-2.0
"""Gates in; up rows of the active ones are fetched; squared ReLU of the gate times up comes out."""

from amaranth import *
from amaranth.lib import data, fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.ffn_config import GateUpConfig
from hw.control.slack import Slack
from hw.delay import later
from hw.ffn.gate_peak import GatePeak
from hw.ffn.gate_scale import GateScale, constants_layout
from hw.ffn.product_buffer import ProductBuffer, words_layout
from hw.ffn.relu2_glu import Relu2Glu
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST
from hw.sparse.compactor import Compactor
from hw.sparse.row_gather import RowGather, sum_layout

__all__ = ["GateUp", "command_layout"]


def command_layout(config: GateUpConfig):
    """Payload of ``i_command``: lengths, the bound on up sums, the scales of both matrices."""
    return data.StructLayout({
        "n": range(config.max_rows + 1),
        "blocks": range(config.gather.max_blocks + 1),
        "peak_bits": range(config.sum_bits + 1),
        "constants": constants_layout,
    })


class GateUp(wiring.Component):
    """``max(gate, 0)**2 * up / 2**shift`` and its scale, up rows of active gates only.

    Gates are taken at a beat a cycle and never held up; the rows of those above zero are requested
    from the next few cycles on, as soon as the activations are loaded, while later gates are still
    being computed.  A row takes `blocks` cycles, a row whose gate is not above zero none.  The
    shift is that of the largest gate, so up sums wait for the last gate (``config.pending`` of
    them, then the rows wait); from then on a product leaves each cycle, and the vector streams out
    behind them, zeros included, for a quantiser that reads it twice.

    :class:`golden_model.ffn.gate_up.GateUpCycles` gives every handshake in every cycle.  One vector
    at a time.  ``o_row`` and ``i_weights`` are those of :class:`hw.sparse.row_gather.RowGather`.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        Gates `n`, at least 1; ``blocks = ceil(K / width)``; `peak_bits`, the bit length of the
        largest activation times K; the matrices' scales.  Offered while the vector is in work,
        accepted when its products are delivered twice and ``o_scale`` once.
    i_vector : :py:`In(stream.Signature(ArrayLayout(signed(digit_bits), width)))`
        Activations, `blocks` beats, zeros behind the end.
    i_gate : :py:`In(stream.Signature(StructLayout({"gate": signed(sum_bits)[rows], "last": 1})))`
        Gates, ``ceil(n / rows)`` beats; those past `n` must not be above zero.
    i_scale : :py:`In(stream.Signature(SMALL_FLOAT))`
        Scale of the activations.
    o_row : :py:`Out(stream.Signature(range(config.max_rows)))`
        Up rows to fetch, of rising index.
    i_weights : :py:`In(stream.Signature(config.gather.unpacker.packed_bits))`
        Packed up rows in the order of the requests, `blocks` beats each.
    o : :py:`Out(stream.Signature(words_layout(config.buffer)))`
        Products, the vector twice, `last` at the end of each pass.
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
        Offered with the shift, ahead of the first product: ``shift(mul(mul(s_g, s_g), s_u), k)``.
    o_request, i_response
        Streams of a :class:`hw.quant.small_float_unit.SmallFloatUnit`, which may serve others in
        between; four operations.
    """

    def __init__(self, config: GateUpConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i_vector": In(stream.Signature(data.ArrayLayout(signed(config.digit_bits),
                                                             config.width))),
            "i_gate": In(stream.Signature(data.StructLayout({
                "gate": data.ArrayLayout(signed(config.sum_bits), config.rows), "last": 1,
            }))),
            "i_scale": In(stream.Signature(SMALL_FLOAT)),
            # A port of no bits would be one of two in Verilog.
            "o_row": Out(stream.Signature(range(max(config.max_rows, 2)))),
            "i_weights": In(stream.Signature(config.gather.unpacker.packed_bits)),
            "o": Out(stream.Signature(words_layout(config.buffer))),
            "o_scale": Out(stream.Signature(SMALL_FLOAT)),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.peak = peak = GatePeak(config.peak)
        m.submodules.compactor = compactor = Compactor(config.compactor)
        m.submodules.gather = gather = RowGather(config.gather)
        m.submodules.buffer = buffer = ProductBuffer(config.buffer)
        m.submodules.gate_scale = scale = GateScale(config.peak)
        self.loaded, self.shift, self.shift_known = Signal(), Signal.like(peak.o.p.shift), Signal()
        delivered, scaled = Signal(), Signal()
        m.d.comb += [
            gather.i_command.valid.eq(self.i_command.valid),
            gather.i_command.p.blocks.eq(self.i_command.p.blocks),
            buffer.i_command.valid.eq(self.i_command.valid & ~delivered),
            buffer.i_command.p.n.eq(self.i_command.p.n),
            scale.constants.eq(self.i_command.p.constants),
            scale.shift.eq(self.shift),
            scale.enable.eq(self.i_command.valid & ~scaled),
            scale.shift_known.eq(self.shift_known),
            self.i_command.ready.eq((delivered | buffer.i_command.ready)
                                    & (scaled | (self.o_scale.valid & self.o_scale.ready))),
        ]
        with m.If(buffer.i_command.ready):
            m.d.sync += delivered.eq(1)
        with m.If(self.o_scale.valid & self.o_scale.ready):
            m.d.sync += scaled.eq(1)

        gates = self.gates(m, peak, compactor, gather)
        self.products(m, gates, gather, buffer)
        for inner, outer in ((gather.o_request, self.o_row), (buffer.o, self.o),
                             (scale.o, self.o_scale), (scale.o_request, self.o_request)):
            wiring.connect(m, inner, wiring.flipped(outer))
        for outer, inner in ((self.i_weights, gather.i_weights), (self.i_scale, scale.i),
                             (self.i_response, scale.i_response)):
            wiring.connect(m, wiring.flipped(outer), inner)

        with m.If(self.i_command.valid & self.i_command.ready):
            m.d.sync += [self.loaded.eq(0), self.shift_known.eq(0), delivered.eq(0), scaled.eq(0)]
        return m

    def gates(self, m, peak, compactor, gather):
        """Load activations and gates, name the active rows; return the memory of the gates."""
        config = self.config
        block = Signal(range(config.gather.max_blocks))
        m.d.comb += [
            gather.i_vector.payload.eq(self.i_vector.payload),
            gather.i_vector.valid.eq(self.i_vector.valid & self.i_vector.ready),
            self.i_vector.ready.eq(self.i_command.valid & ~self.loaded),
        ]
        with m.If(self.i_vector.valid & self.i_vector.ready):
            ends = block == self.i_command.p.blocks - 1
            m.d.sync += [block.eq(Mux(ends, 0, block + 1)), self.loaded.eq(ends)]

        m.submodules.gates = gates = memory.Memory(
            shape=self.i_gate.p.gate.shape(), depth=config.max_beats, init=[])
        write = gates.write_port()
        beat, taken = Signal(range(config.max_beats)), Signal()
        m.d.comb += [
            self.i_gate.ready.eq(self.i_command.valid & ~taken),
            write.addr.eq(beat), write.data.eq(self.i_gate.p.gate),
            write.en.eq(self.i_gate.valid & self.i_gate.ready),
            peak.i.valid.eq(write.en),
            peak.i.p.gate.eq(self.i_gate.p.gate), peak.i.p.last.eq(self.i_gate.p.last),
            peak.i.p.peak_bits.eq(self.i_command.p.peak_bits),
            peak.o.ready.eq(1),
        ]
        with m.If(write.en):
            m.d.sync += [beat.eq(Mux(self.i_gate.p.last, 0, beat + 1)),
                         taken.eq(self.i_gate.p.last)]
        with m.If(peak.o.valid & peak.o.p.last):
            m.d.sync += [self.shift.eq(peak.o.p.shift), self.shift_known.eq(1)]
        with m.If(self.i_command.valid & self.i_command.ready):
            m.d.sync += taken.eq(0)

        # A whole vector's masks fit, so that nothing ever holds up the gates.
        m.submodules.masks = masks = fifo.SyncFIFOBuffered(width=config.rows + 1,
                                                           depth=config.masks)
        m.d.comb += [
            masks.w_data.eq(Cat(peak.o.p.last, peak.o.p.mask)), masks.w_en.eq(peak.o.valid),
            Cat(compactor.i.p.last, compactor.i.p.keep).eq(masks.r_data),
            compactor.i.valid.eq(masks.r_rdy), masks.r_en.eq(compactor.i.ready),
            gather.i.p.index.eq(compactor.o.p.index), gather.i.p.end.eq(compactor.o.p.end),
            gather.i.valid.eq(compactor.o.valid & self.loaded),
            compactor.o.ready.eq(gather.i.ready & self.loaded),
        ]
        return gates

    def products(self, m, gates, gather, buffer):
        """Multiply each up sum by what its gate makes of it, once the shift is known."""
        config = self.config
        m.submodules.glu = glu = Relu2Glu(config.glu)
        entry = sum_layout(config.gather)
        m.submodules.sums = sums = fifo.SyncFIFOBuffered(width=entry.size, depth=config.pending)
        # The queue's level stops no engine.
        m.submodules.room = room = Slack(entry)
        wiring.connect(m, gather.o, room.i)
        head = data.View(entry, sums.r_data)
        read = gates.read_port()
        lane_bits = config.rows.bit_length() - 1
        waiting, held = Signal(), Signal(entry, reset_less=True)  # beside the gate being read
        m.d.comb += [
            sums.w_data.eq(room.o.payload), sums.w_en.eq(room.o.valid),
            room.o.ready.eq(sums.w_rdy),
            read.en.eq(sums.r_rdy & self.shift_known & (~waiting | glu.i.ready)),
            sums.r_en.eq(read.en),
            read.addr.eq(head.index[lane_bits:]),
            glu.i.valid.eq(waiting), glu.i.p.shift.eq(self.shift),
            glu.i.p.gate[0].eq(Array(read.data)[held.index[:lane_bits]] if lane_bits else
                               read.data[0]),
            glu.i.p.up[0].eq(held.sum),
        ]
        with m.If(read.en):
            m.d.sync += [waiting.eq(1), held.eq(head)]
        with m.Elif(glu.i.ready):
            m.d.sync += waiting.eq(0)

        # Where each product belongs travels beside it.
        place = data.StructLayout({"index": head.index.shape(), "end": 1})
        here = Signal(place)
        m.d.comb += [here.index.eq(held.index), here.end.eq(held.end)]
        here = later(m, here, config.glu.latency, "place", advance=glu.i.ready)
        # Nor does the buffer's choice, which compares places, stop the queue behind the multiplier.
        m.submodules.spare = spare = Slack(buffer.i.payload.shape())
        wiring.connect(m, spare.o, buffer.i)
        m.d.comb += [
            spare.i.valid.eq(glu.o.valid), glu.o.ready.eq(spare.i.ready),
            spare.i.p.index.eq(here.index), spare.i.p.end.eq(here.end),
            spare.i.p.word.eq(glu.o.payload[0]),
        ]
