# SPDX-License-Identifier: Apache-2.0
"""Ternary matrix times activation vectors: rows x lanes multiply-accumulates a cycle."""

from contextlib import nullcontext

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import ArrayConfig
from hw.mac import layouts
from hw.mac.accumulator import Accumulator
from hw.mac.tile_loader import TileLoader
from hw.mac.tree_core import TreeCore
from hw.mac.trit_unpacker import TritUnpacker

__all__ = ["TernaryArray"]


class TernaryArray(wiring.Component):
    """Product of a ternary matrix [M, K] and an integer vector [K], ``rows`` results at a time.

    A command covers ``blocks`` = ceil(M / rows) row blocks and ``tiles`` = ceil(K / lanes) tiles;
    rows and lanes beyond M and K are zero trits and zero activations, which
    :func:`golden_model.mac.ternary_array.pack_weights` and ``tile_activations`` fill in.

    With ``config.batch`` above 1 a command also has a number of `tokens`, vectors that share the
    weights: each beat is fetched once and multiplied with its tile of every token in turn, on the
    same adders.  Cycles are those of that many commands, beats of weights those of one.

    Throughput is one tile of one digit a cycle, ``rows * lanes`` products.  Commands follow each
    other without a bubble as long as weights are offered, ``o`` is ready and the activations of the
    next command came in while the current one computed.  ``o.valid`` comes ``config.latency``
    cycles after a row block's last weight beat was accepted (one more for each further digit).

    All streams may stall at any time.  ``i_w.ready`` depends combinationally on ``o.ready``, and
    ``i_cmd.ready`` on ``i_x.valid``; no valid depends on a ready.  ``i_w`` takes one beat ahead of
    the command it belongs to.  Not provided: overflow detection (the configuration rules it out),
    aborting a command (reset does), checking that ``reuse`` fits.

    Members
    -------
    i_cmd : :py:`In(stream.Signature(StructLayout({"blocks", "tiles", "digits", "reuse"})))`
        And ``tokens``, with ``config.batch`` above 1.  Counts from 1; 0 is taken as 1, a count over
        the maximum as the maximum.  ``reuse`` computes again on the activations of the previous
        command, whose tiles, digits and tokens the command must repeat; nothing is loaded.  A first
        command with ``reuse`` ends like any other, with sums over whatever the storage holds.
    i_x : :py:`In(stream.Signature(ArrayLayout(signed(digit_bits), lanes)))`
        Activations: for each token its tiles, for each tile its digits, the high one first.  Two
        digits stand for 16 times a signed nibble plus an unsigned one.
    i_w : :py:`In(stream.Signature(config.unpacker.packed_bits))`
        Packed trits [rows, lanes], one beat for each block and tile, all tiles of a block in turn.
    o : :py:`Out(stream.Signature(StructLayout({"sums": signed(acc_bits)[rows], "last": 1})))`
        Results of each block, for each token in turn; ``last`` marks the command's last.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__({
            "i_cmd": In(stream.Signature(layouts.command(config))),
            "i_x": In(stream.Signature(layouts.word(config))),
            "i_w": In(stream.Signature(config.unpacker.packed_bits)),
            "o": Out(stream.Signature(layouts.result(config))),
        })

    def elaborate(self, platform):
        config = self.config
        batched = config.batch > 1
        m = Module()
        m.submodules.loader = loader = TileLoader(config)
        m.submodules.unpacker = unpacker = TritUnpacker(config.unpacker)
        m.submodules.core = core = TreeCore(config, layouts.beat_tag(config))
        m.submodules.accumulator = accumulator = Accumulator(config)
        wiring.connect(m, wiring.flipped(self.i_cmd), loader.i_cmd)
        wiring.connect(m, wiring.flipped(self.i_x), loader.i_x)
        wiring.connect(m, wiring.flipped(self.i_w), unpacker.i)
        wiring.connect(m, loader.o_x, core.i_x)
        wiring.connect(m, core.o, accumulator.i)
        wiring.connect(m, accumulator.o, wiring.flipped(self.o))

        run, beat = loader.o_run, core.i
        block = Signal.like(run.p.block)
        tile = Signal.like(run.p.tile)
        digit = Signal.like(run.p.digit)
        last_digit = digit == run.p.digit
        last_tile = tile == run.p.tile
        last_block = block == run.p.block
        served, final, last_token = last_digit, last_block, None  # `served`: weights may go
        if batched:
            token = Signal.like(run.p.token)
            last_token = token == run.p.token
            served, final = last_digit & last_token, last_block & last_token
            m.d.comb += [
                beat.p.address.token.eq(token),
                beat.p.tag.token.eq(token),
                beat.p.tag.first.eq((tile == 0) & (digit == 0)),
            ]
        m.d.comb += [
            beat.valid.eq(run.valid & unpacker.o.valid),
            beat.p.address.bank.eq(run.p.bank),
            beat.p.address.tile.eq(tile),
            beat.p.address.digit.eq(digit),
            beat.p.tag.high.eq(~last_digit),
            beat.p.tag.last.eq(last_digit & last_tile),
            beat.p.tag.final.eq(final),
            unpacker.o.ready.eq(run.valid & beat.ready & served),
            run.ready.eq(unpacker.o.valid & beat.ready & served & last_tile & last_block),
        ]
        # Row r's weights are rows * lanes trits in order.
        m.d.comb += Value.cast(beat.p.w).eq(unpacker.o.payload)

        with m.If(beat.valid & beat.ready):
            m.d.sync += digit.eq(digit + 1)
            with m.If(last_digit):
                m.d.sync += digit.eq(0)
                if batched:
                    m.d.sync += token.eq(Mux(last_token, 0, token + 1))
                with m.If(last_token) if batched else nullcontext():
                    m.d.sync += tile.eq(tile + 1)
                    with m.If(last_tile):
                        m.d.sync += [tile.eq(0), block.eq(block + 1)]
                        with m.If(last_block):
                            m.d.sync += block.eq(0)
        return m
