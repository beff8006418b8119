# SPDX-License-Identifier: Apache-2.0
"""Commands and activations in, runs whose activations are in place out."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import ArrayConfig
from hw.mac import layouts

__all__ = ["TileLoader"]


def clamped(value, most):
    """Return ``min(max(value, 1), most) - 1``."""
    if most + 1 < 1 << len(value):
        value = Mux(value > most, most, value)
    return Mux(value.any(), value - 1, 0)


class TileLoader(wiring.Component):
    """Double buffering: loads one bank of activations while runs compute on the other.

    A command is accepted at any time unless one is held already.  A held command with ``reuse``
    turns into a run as soon as there is room for one; another first loads ``tiles * digits`` words
    (for each of its ``tokens``, if ``config.batch`` is above 1) into the bank that the last one did
    not use, once no run needs that bank, one word a cycle.  The run is offered the cycle after its
    last word.  Two runs are kept, so that the next one is always there when the current one ends.

    ``i_cmd.ready`` depends combinationally on ``i_x.valid`` and ``o_x.ready`` (a command can take
    the place of one whose last word is just accepted), ``i_x.ready`` on ``o_x.ready``.

    Members
    -------
    i_cmd : :py:`In(stream.Signature(StructLayout({"blocks", "tiles", "digits", "reuse"})))`
        Counts from 1; 0 is taken as 1, a count above the configuration's maximum as the maximum.
    i_x : :py:`In(stream.Signature(ArrayLayout(signed(digit_bits), lanes)))`
        Words of the commands without ``reuse``: token by token, tile by tile, the high digit first.
    o_x : :py:`Out(stream.Signature(StructLayout({"address", "x"})))`
        To the core's storage.
    o_run : :py:`Out(stream.Signature(StructLayout({"block", "tile", "digit", "bank"})))`
        Last indices, and the bank.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__({
            "i_cmd": In(stream.Signature(layouts.command(config))),
            "i_x": In(stream.Signature(layouts.word(config))),
            "o_x": Out(stream.Signature(data.StructLayout({
                "address": layouts.address(config),
                "x": layouts.word(config),
            }))),
            "o_run": Out(stream.Signature(layouts.run(config))),
        })

    def elaborate(self, platform):
        m = Module()
        config, cmd = self.config, self.i_cmd.p
        batched = config.batch > 1

        held = Signal()  # a command is held ...
        reuse = Signal()
        asked = Signal.like(self.o_run.payload)  # ... which asks for this,
        run = Signal.like(self.o_run.payload)  # ... and becomes this run
        bank = Signal()  # that the newest run uses
        spare = Signal.like(self.o_run.payload)  # the run after o_run
        spare_valid = Signal()

        busy = (self.o_run.valid & (self.o_run.p.bank != bank)
                | spare_valid & (spare.bank != bank))
        done = Signal()
        with m.If(self.i_cmd.ready):
            m.d.sync += [
                held.eq(self.i_cmd.valid),
                reuse.eq(cmd.reuse),
                asked.block.eq(clamped(cmd.blocks, config.max_blocks)),
                asked.tile.eq(clamped(cmd.tiles, config.max_tiles)),
                asked.digit.eq(clamped(cmd.digits, config.max_digits)),
            ]
            if batched:
                m.d.sync += asked.token.eq(clamped(cmd.tokens, config.batch))
        m.d.comb += self.i_cmd.ready.eq(~held | done)

        tile = Signal.like(run.tile)
        digit = Signal.like(run.digit)
        last = (tile == run.tile) & (digit == run.digit)
        if batched:
            token = Signal.like(run.token)
            last_tile, last = last, last & (token == run.token)
            m.d.comb += self.o_x.p.address.token.eq(token)
        may_load = held & ~reuse & ~busy & ~(last & spare_valid)
        m.d.comb += [
            self.o_x.valid.eq(self.i_x.valid & may_load),
            self.i_x.ready.eq(self.o_x.ready & may_load),
            self.o_x.p.x.eq(self.i_x.payload),
            self.o_x.p.address.digit.eq(digit),
            self.o_x.p.address.tile.eq(tile),
            self.o_x.p.address.bank.eq(~bank),
            run.eq(asked),
            run.bank.eq(bank ^ ~reuse),
            done.eq(Mux(reuse, held & ~spare_valid, self.o_x.valid & self.o_x.ready & last)),
        ]
        with m.If(self.o_x.valid & self.o_x.ready):
            m.d.sync += digit.eq(digit + 1)
            with m.If(digit == run.digit):
                m.d.sync += [digit.eq(0), tile.eq(tile + 1)]
            if batched:
                with m.If(last_tile):
                    m.d.sync += [tile.eq(0), token.eq(token + 1)]
                with m.If(last):
                    m.d.sync += token.eq(0)
            with m.If(last):
                m.d.sync += [tile.eq(0), bank.eq(~bank)]

        with m.If(self.o_run.ready | ~self.o_run.valid):
            m.d.sync += [
                self.o_run.valid.eq(spare_valid | done),
                self.o_run.payload.eq(Mux(spare_valid, spare, run)),
                spare_valid.eq(0),
            ]
        with m.Elif(done):
            m.d.sync += [spare_valid.eq(1), spare.eq(run)]
        return m
