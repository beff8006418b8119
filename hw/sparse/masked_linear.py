# SPDX-License-Identifier: Apache-2.0
"""Sub-norm, INT8 codes, top-K or zeros dropped, ternary columns: the path of Wo and of Wdown."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.sparse_config import MaskedLinearConfig
from hw.control.slack import Slack
from hw.control.stage import Stage
from hw.quant.code_encoder import Format
from hw.quant.norm_quantiser import NormQuantiser
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation
from hw.sparse.compactor import Compactor
from hw.sparse.sparse_product import SparseProduct, sums_layout
from hw.sparse.top_k import TopK

__all__ = ["MaskedLinear", "codes_layout", "command_layout"]


def command_layout(config: MaskedLinearConfig):
    """Payload of ``i_command``: what to do with the next vector."""
    return data.StructLayout({
        "n": range(config.max_n + 1),
        "codes": 1,
        "blocks": range(config.product.max_blocks + 1),
        "top_k": 1,
        "keep": range(config.max_n + 1),
        **({"in_blocks": 1, "block_keep": range(config.block_size + 1)}
           if config.block_size else {}),
        "format": Format, "norm": 1, "levels": SMALL_FLOAT, "scale": SMALL_FLOAT,
        "norm_scale": SMALL_FLOAT, "eps": SMALL_FLOAT, "alpha": SMALL_FLOAT,
    })


def codes_layout(config: MaskedLinearConfig):
    """Payload of ``o_codes``: a beat of codes, and whether it is the vector's last."""
    return data.StructLayout({"codes": data.ArrayLayout(signed(8), config.lanes), "last": 1})


class MaskedLinear(wiring.Component):
    """Sums of a quantised, masked vector times ternary columns, and the scale of the sums.

    The words stream in twice, as :class:`hw.quant.norm_quantiser.NormQuantiser` takes them.  With
    `top_k`, the codes are selected by :class:`hw.sparse.top_k.TopK` and the product starts
    ``config.top_k.latency + 1`` cycles after the last of them; without, zero codes are dropped as
    they come and the product starts with the first code that is not zero, while later ones are
    still being made.  A column is requested as soon as its channel is known, one channel takes
    ``blocks`` cycles, and sums leave with the last channel, from ``config.product.latency`` cycles
    after its weights on.  The scale comes one multiplication after the quantiser's.
    :mod:`golden_model.sparse.masked_linear` gives the cycle of every transfer.

    One vector at a time: a command is accepted after the last sums and the scale of the one before.
    ``o_scale`` holds its value in a register, so that nobody waits for the small-float unit when it
    is not taken.  A command with `codes` asks for the quantiser alone: its codes leave on
    ``o_codes``, its scale on ``o_scale``, and there are no sums.  In the second pass ``i.ready``
    depends on ``o_request.ready`` through no path of logic: a queue lies between.

    Members
    -------
    i_command : :py:`In(stream.Signature(command_layout(config)))`
        `n` words, at least 1; whether the `codes` are all that is wanted; ``blocks = ceil(M /
        width)``, at least 1.  `top_k` keeps the `keep`
        largest codes (with `in_blocks`, if ``config.block_size`` is set, `block_keep` of each block
        but the last, which keeps `keep`); without it all codes count.  `format` (INT8, or FP4
        whose codes are doubled), `norm`, `levels`, `scale`, `norm_scale`, `eps` as the quantiser
        takes them.  `alpha` is the scale of the weights.
    i : :py:`In(stream.Signature(StructLayout({"x": signed(24)[P], "gain": signed(gain_bits)[P]})))`
        The vector in ``ceil(n / P)`` beats, twice; lanes past `n` are ignored.
    o_request : :py:`Out(stream.Signature(range(config.max_n)))`
        Columns to fetch, at most ``config.in_flight`` ahead of the weights in use.
    i_weights : :py:`In(stream.Signature(config.product.unpacker.packed_bits))`
        Packed columns in the order of the requests, `blocks` beats each.
    o_codes : :py:`Out(stream.Signature(codes_layout(config)))`
        Codes of a command that asks for them, zero in lanes past `n`.
    o : :py:`Out(stream.Signature(sums_layout(config.product)))`
        `blocks` beats of `width` sums, then `last`; zeros if all codes are zero.
    o_scale : :py:`Out(stream.Signature(SMALL_FLOAT))`
        ``mul(scale of the codes, alpha)``, or the codes' own; in no fixed order with the others.
    o_unit_request, i_unit_response
        Streams of a :class:`hw.quant.small_float_unit.SmallFloatUnit`, which may serve others in
        between; a response is always taken at once.
    """

    def __init__(self, config: MaskedLinearConfig):
        self.config = config
        product = config.product
        super().__init__({
            "i_command": In(stream.Signature(command_layout(config))),
            "i": In(stream.Signature(data.StructLayout({
                "x": data.ArrayLayout(signed(WORD_BITS), config.lanes),
                "gain": data.ArrayLayout(signed(config.quantiser.gain_bits), config.lanes),
            }))),
            # A port of no bits would be one of two in Verilog.
            "o_request": Out(stream.Signature(range(max(config.max_n, 2)))),
            "i_weights": In(stream.Signature(product.unpacker.packed_bits)),
            "o_codes": Out(stream.Signature(codes_layout(config))),
            "o": Out(stream.Signature(sums_layout(product))),
            "o_scale": Out(stream.Signature(SMALL_FLOAT)),
            "o_unit_request": Out(stream.Signature(REQUEST)),
            "i_unit_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        config, command = self.config, self.i_command.p
        m.submodules.quantiser = quantiser = NormQuantiser(config.quantiser)
        m.submodules.product = product = SparseProduct(config.product)
        start, busy, selecting, self.coding = Signal(), Signal(), Signal(), Signal()
        blocks = Signal.like(command.blocks, reset_less=True)
        alpha = Signal(SMALL_FLOAT, reset_less=True)
        with m.If(start):
            m.d.sync += [blocks.eq(command.blocks), alpha.eq(command.alpha),
                         selecting.eq(command.top_k), self.coding.eq(command.codes), busy.eq(1)]
        m.d.comb += [
            quantiser.i_command.valid.eq(self.i_command.valid & ~busy),
            self.i_command.ready.eq(quantiser.i_command.ready & ~busy),
            start.eq(self.i_command.valid & self.i_command.ready),
            *(getattr(quantiser.i_command.p, name).eq(getattr(command, name)) for name in
              ("n", "format", "norm", "levels", "scale", "norm_scale", "eps")),
        ]
        wiring.connect(m, wiring.flipped(self.i), quantiser.i)
        # Whether the quantiser's pipeline goes on comes from registers; so do the codes, which go
        # far.
        m.submodules.slack = slack = Slack(quantiser.o.payload.shape())
        m.submodules.stage = stage = Stage(quantiser.o.payload.shape())
        wiring.connect(m, quantiser.o, slack.i)
        wiring.connect(m, slack.o, stage.i)
        self.mask(m, stage.o, product.i, start, selecting)

        wiring.connect(m, product.o_request, wiring.flipped(self.o_request))
        wiring.connect(m, wiring.flipped(self.i_weights), product.i_weights)
        wiring.connect(m, product.o, wiring.flipped(self.o))
        last, summed, scaled = Signal(), Signal(), Signal()  # `last`: the last sums are made
        m.d.comb += [product.i_command.valid.eq(busy & ~last & ~self.coding),
                     product.i_command.p.blocks.eq(blocks)]
        with m.If(product.i_command.valid & product.i_command.ready):
            m.d.sync += last.eq(1)
        with m.If(self.o.valid & self.o.ready & self.o.p.last
                  | self.o_codes.valid & self.o_codes.ready & self.o_codes.p.last):
            m.d.sync += summed.eq(1)
        with m.If(self.scale(m, quantiser, alpha)):
            m.d.sync += scaled.eq(1)
        with m.If(summed & scaled):
            m.d.sync += [busy.eq(0), last.eq(0), summed.eq(0), scaled.eq(0)]
        return m

    def mask(self, m, codes, channels, start, selecting):
        """Send codes through the selection, or past it to where zeros are dropped."""
        config, command, coding = self.config, self.i_command.p, self.coding
        m.submodules.top_k = top_k = TopK(config.top_k)
        m.submodules.compactor = compactor = Compactor(config.compactor)
        m.d.comb += [
            # Its last beat has left long since when the next vector comes.
            top_k.i_command.valid.eq(start & command.top_k & ~command.codes),
            top_k.i_command.p.count.eq(command.n),
            top_k.i_command.p.keep.eq(command.keep),
            top_k.i_command.p.drop_zeros.eq(1),
            top_k.o_mask.ready.eq(1),
            top_k.i.payload.eq(codes.p.codes),
            top_k.i.valid.eq(codes.valid & selecting & ~coding),
            compactor.i.p.codes.eq(codes.p.codes),
            compactor.i.p.keep.eq(-1),  # what lies past the end is zero
            compactor.i.p.last.eq(codes.p.last),
            compactor.i.valid.eq(codes.valid & ~selecting & ~coding),
            self.o_codes.p.eq(codes.p),
            self.o_codes.valid.eq(codes.valid & coding),
            codes.ready.eq(Mux(coding, self.o_codes.ready,
                               Mux(selecting, top_k.i.ready, compactor.i.ready))),
            channels.valid.eq(Mux(selecting, top_k.o.valid, compactor.o.valid)),
            channels.payload.eq(Mux(selecting, top_k.o.payload, compactor.o.payload)),
            top_k.o.ready.eq(channels.ready & selecting),
            compactor.o.ready.eq(channels.ready & ~selecting),
        ]
        if config.block_size:
            m.d.comb += [top_k.i_command.p.blocks.eq(command.in_blocks),
                         top_k.i_command.p.block_keep.eq(command.block_keep)]

    def scale(self, m, quantiser, alpha):
        """Multiply the quantiser's scale; return whether the product leaves in this cycle."""
        request, response = self.o_unit_request, self.i_unit_response
        scale = Signal(SMALL_FLOAT, reset_less=True)
        wiring.connect(m, quantiser.o_request, wiring.flipped(request))
        m.d.comb += [
            self.o_scale.payload.eq(scale),
            quantiser.i_response.payload.eq(response.payload),
            quantiser.i_response.valid.eq(response.valid),
            response.ready.eq(quantiser.i_response.ready),
        ]
        with m.FSM():
            with m.State("QUANTISER"):
                m.d.comb += quantiser.o_scale.ready.eq(1)
                m.d.sync += scale.eq(quantiser.o_scale.payload)
                with m.If(quantiser.o_scale.valid):
                    m.next = "REQUEST"
                    with m.If(self.coding):
                        m.next = "OFFER"
            # The quantiser asks for nothing until its next command.
            with m.State("REQUEST"):
                m.d.comb += [request.valid.eq(1), request.p.operation.eq(Operation.MUL),
                             request.p.a.eq(scale), request.p.b.eq(alpha)]
                with m.If(request.ready):
                    m.next = "AWAIT"
            with m.State("AWAIT"):
                m.d.comb += [response.ready.eq(1), quantiser.i_response.valid.eq(0)]
                m.d.sync += scale.eq(response.payload)
                with m.If(response.valid):
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o_scale.valid.eq(1)
                with m.If(self.o_scale.ready):
                    m.next = "QUANTISER"
        return self.o_scale.valid & self.o_scale.ready
