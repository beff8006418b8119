# SPDX-License-Identifier: Apache-2.0
"""A whole gated feed-forward block: activations in, sums of Wdown and their scale out."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.arbiter_config import RequestArbiterConfig
from golden_model.ffn_config import GatedFfnConfig
from golden_model.quant_config import SmallFloatUnitConfig
from hw.ffn import gate_up as gates
from hw.ffn.code_packer import CodePacker
from hw.ffn.gate_up import GateUp
from hw.mac import layouts
from hw.mac.ternary_array import TernaryArray
from hw.quant.code_encoder import Format
from hw.quant.request_arbiter import RequestArbiter
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import SmallFloatUnit
from hw.sparse.masked_linear import MaskedLinear
from hw.sparse.sparse_product import sums_layout

__all__ = ["GatedFfn", "command_layout"]


def command_layout(config: GatedFfnConfig):
    """Payload of ``i_command``: lengths and constants of one layer."""
    return data.StructLayout({
        "gate": data.StructLayout({
            name: layouts.command(config.array)[name].shape for name in ("blocks", "tiles")}),
        "up": gates.command_layout(config.gate_up),
        "down": data.StructLayout({
            "blocks": range(config.down.product.max_blocks + 1), "levels": SMALL_FLOAT,
            "norm_scale": SMALL_FLOAT, "eps": SMALL_FLOAT, "alpha": SMALL_FLOAT,
        }),
    })


class GatedFfn(wiring.Component):
    """``Wdown(int8(norm(max(gate, 0)**2 * up)))``, fetching no weight that meets a zero but gates.

    The array computes the gates; :class:`hw.ffn.gate_up.GateUp` fetches the up rows of those above
    zero beside it; :class:`hw.sparse.masked_linear.MaskedLinear` quantises the products and fetches
    the columns of Wdown whose code is not zero.  Each starts as soon as its first data are there:
    up rows with the first gates, the norm's statistics with the first products, the columns with
    the first codes.  One small-float unit serves all.

    One vector at a time: the command is accepted with the last of sums and scale.
    :class:`golden_model.ffn.ffn_cycles.FfnCycles` gives the cycle of every transfer.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        ``gate``: ceil(ffn / rows) and ceil(K / lanes) of the array; ``up``: as ``GateUp`` takes it;
        ``down``: ceil(M / width), and what the sub-norm's quantiser takes.  Offered while the
        vector is in work.
    i : :py:`In(stream.Signature(StructLayout({"codes": signed(8)[lanes], "last": 1})))`
        Activations, as a quantiser emits them.
    i_scale : :py:`In(stream.Signature(SMALL_FLOAT))`
        Their scale, not needed before the products.
    i_gate_weights : :py:`In(stream.Signature(config.array.unpacker.packed_bits))`
        Beats of the gate matrix in the array's order.
    i_gain : :py:`In(stream.Signature(ArrayLayout(signed(gain_bits), lanes)))`
        Gains of the sub-norm in ``ceil(ffn / lanes)`` beats, twice.
    o_up_request, i_up_weights
        Up rows to fetch and their beats, as :class:`hw.sparse.row_gather.RowGather` has them.
    o_down_request, i_down_weights
        Columns of Wdown, as :class:`hw.sparse.sparse_product.SparseProduct` has them.
    o : :py:`Out(stream.Signature(sums_layout(config.down.product)))`
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
    """

    def __init__(self, config: GatedFfnConfig):
        self.config = config
        up, down = config.gate_up, config.down
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i": In(stream.Signature(data.StructLayout({
                "codes": data.ArrayLayout(signed(8), config.lanes), "last": 1,
            }))),
            "i_scale": In(stream.Signature(SMALL_FLOAT)),
            "i_gate_weights": In(stream.Signature(config.array.unpacker.packed_bits)),
            "i_gain": In(stream.Signature(data.ArrayLayout(signed(down.quantiser.gain_bits),
                                                           config.lanes))),
            # A port of no bits would be one of two in Verilog.
            "o_up_request": Out(stream.Signature(range(max(up.max_rows, 2)))),
            "i_up_weights": In(stream.Signature(up.gather.unpacker.packed_bits)),
            "o_down_request": Out(stream.Signature(range(max(down.max_n, 2)))),
            "i_down_weights": In(stream.Signature(down.product.unpacker.packed_bits)),
            "o": Out(stream.Signature(sums_layout(down.product))),
            "o_scale": Out(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.array = array = TernaryArray(config.array)
        m.submodules.gate_up = gate_up = GateUp(config.gate_up)
        m.submodules.down = down = MaskedLinear(config.down)
        m.submodules.unit = unit = SmallFloatUnit(SmallFloatUnitConfig())
        m.submodules.arbiter = arbiter = RequestArbiter(RequestArbiterConfig(clients=2))
        for client, (request, response) in enumerate((
                (gate_up.o_request, gate_up.i_response),
                (down.o_unit_request, down.i_unit_response))):
            wiring.connect(m, request, arbiter.i_request[client])
            wiring.connect(m, arbiter.o_response[client], response)
        wiring.connect(m, arbiter.o_request, unit.i)
        wiring.connect(m, unit.o, arbiter.i_response)

        loaded = self.commands(m, array, gate_up, down)
        self.activations(m, array, gate_up, self.i_command.valid & ~loaded)
        m.d.comb += [
            gate_up.i_gate.valid.eq(array.o.valid), array.o.ready.eq(gate_up.i_gate.ready),
            gate_up.i_gate.p.last.eq(array.o.p.last),
            *(gate.eq(total) for gate, total in zip(gate_up.i_gate.p.gate, array.o.p.sums)),
            down.i.p.x.eq(gate_up.o.p.words), down.i.p.gain.eq(self.i_gain.payload),
            down.i.valid.eq(gate_up.o.valid & self.i_gain.valid),
            gate_up.o.ready.eq(down.i.ready & self.i_gain.valid),
            self.i_gain.ready.eq(down.i.ready & gate_up.o.valid),
        ]
        for outer, inner in ((self.i_scale, gate_up.i_scale), (self.i_gate_weights, array.i_w),
                             (self.i_up_weights, gate_up.i_weights),
                             (self.i_down_weights, down.i_weights)):
            wiring.connect(m, wiring.flipped(outer), inner)
        for inner, outer in ((gate_up.o_row, self.o_up_request), (down.o, self.o),
                             (down.o_request, self.o_down_request), (down.o_scale, self.o_scale)):
            wiring.connect(m, inner, wiring.flipped(outer))
        return m

    def commands(self, m, array, gate_up, down):
        """Hand the command's parts out, each once; accept it when everything is delivered.

        Returns whether all activations are there.
        """
        command, offered = self.i_command.p, self.i_command.valid
        ends = {
            "loaded": self.i.valid & self.i.ready & self.i.p.last,
            "commanded": array.i_cmd.ready & array.i_cmd.valid,
            "multiplied": gate_up.i_command.ready & gate_up.i_command.valid,
            "summed": self.o.valid & self.o.ready & self.o.p.last,
            "scaled": self.o_scale.valid & self.o_scale.ready,
        }
        done = {name: Signal(name=name) for name in ends}
        m.d.comb += [
            array.i_cmd.valid.eq(offered & ~done["commanded"]),
            array.i_cmd.p.blocks.eq(command.gate.blocks),
            array.i_cmd.p.tiles.eq(command.gate.tiles),
            array.i_cmd.p.digits.eq(1),
            gate_up.i_command.valid.eq(offered & ~done["multiplied"]),
            gate_up.i_command.payload.eq(command.up),
            # The products' scale is what the quantiser waits for.
            down.i_command.valid.eq(gate_up.o_scale.valid),
            gate_up.o_scale.ready.eq(down.i_command.ready),
            down.i_command.p.scale.eq(gate_up.o_scale.payload),
            down.i_command.p.n.eq(command.up.n),
            down.i_command.p.format.eq(Format.INT8), down.i_command.p.norm.eq(1),
            *(down.i_command.p[name].eq(command.down[name])
              for name in ("blocks", "levels", "norm_scale", "eps", "alpha")),
            self.i_command.ready.eq(Cat(done[name] | end for name, end in ends.items()).all()),
        ]
        for name, end in ends.items():
            with m.If(end):
                m.d.sync += done[name].eq(1)
        with m.If(offered & self.i_command.ready):
            m.d.sync += [flag.eq(0) for flag in done.values()]
        return done["loaded"]

    def activations(self, m, array, gate_up, enable):
        """Pack the activations for the array and for the up rows, beat by beat for both."""
        packers = [CodePacker(self.config.array_packer), CodePacker(self.config.up_packer)]
        m.submodules.array_packer, m.submodules.up_packer = packers
        for packer, other in (packers, packers[::-1]):
            m.d.comb += [packer.i.payload.eq(self.i.payload),
                         packer.i.valid.eq(self.i.valid & enable & other.i.ready)]
        m.d.comb += self.i.ready.eq(enable & packers[0].i.ready & packers[1].i.ready)
        for packer, sink in zip(packers, (array.i_x, gate_up.i_vector)):
            wiring.connect(m, packer.o, sink)
