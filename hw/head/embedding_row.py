# SPDX-License-Identifier: Apache-2.0
"""One row of the embedding: three planes of trits to codes."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.head_config import PLANES, EmbeddingRowConfig
from hw.image.port import burst_stream
from hw.mac.trit_unpacker import table

__all__ = ["EmbeddingRow"]


def code(trits):
    """Return the code of three trits of two bits, the lowest first."""
    return sum(((trits >> 2 * n & 3 ^ 2) - 2) * 3**n for n in range(PLANES))


class EmbeddingRow(wiring.Component):
    """Codes -13..13 of one token's row, out of the planes that the head multiplies.

    The head's matrix lies in blocks of ``config.rows`` tokens, each plane by plane, the top one
    first; here the planes of a tile are asked for one after the other, a beat each, so that no more
    than a tile is kept.  A tile's codes leave at ``config.lanes`` a cycle behind its third beat,
    and the next tile's beats wait for the last of them.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"token", "address", "tiles", "beats"})))`
        First beat of the embedding, beats of a plane of one block, and beats of codes of a row.
        Accepted with the last of them.
    o_request : :py:`Out(burst_stream(config.port))`
    i : :py:`In(stream.Signature(ArrayLayout(ArrayLayout(signed(2), width), rows)))`
        Trits of what was asked for.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(config.code_bits), config.lanes)))`
    """

    def __init__(self, config: EmbeddingRowConfig):
        self.config = config
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "token": config.max_token_bits, "address": config.port.address_bits,
                "tiles": range(config.max_tiles + 1), "beats": range(config.max_beats + 1),
            }))),
            "o_request": Out(burst_stream(config.port)),
            "i": In(stream.Signature(data.ArrayLayout(
                data.ArrayLayout(signed(2), config.width), config.rows))),
            "o": Out(stream.Signature(data.ArrayLayout(signed(config.code_bits), config.lanes))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        self.ask(m)

        # Trits wait as they are: codes are made where they leave, of a beat's lanes alone.
        row_bits = config.rows.bit_length() - 1
        rows = [Value.cast(each) for each in self.i.p]
        row = Array(rows)[self.i_command.p.token[:row_bits]] if row_bits else rows[0]
        planes = [Signal(len(row), name=f"plane_{n}", reset_less=True)
                  for n in range(PLANES)]
        plane, full = Signal(range(PLANES)), Signal()
        part, sent = Signal(range(max(config.parts, 2))), Signal.like(self.i_command.p.beats)
        last, taken = Signal(), self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(~full), self.o.valid.eq(full),
            last.eq(sent + 1 == self.i_command.p.beats),
            self.i_command.ready.eq(taken & last),
        ]
        with m.If(self.i.valid & self.i.ready):
            for n, held in enumerate(planes):
                with m.If(plane == n):
                    m.d.sync += held.eq(row)
            m.d.sync += plane.eq(plane + 1)
            with m.If(plane == PLANES - 1):
                m.d.sync += [plane.eq(0), full.eq(1)]
        with m.If(taken):
            m.d.sync += [part.eq(part + 1), sent.eq(sent + 1)]
            with m.If(last | (part == config.parts - 1)):
                m.d.sync += [part.eq(0), full.eq(0)]
            with m.If(last):
                m.d.sync += sent.eq(0)
        chosen = [Value.cast(held).word_select(part, 2 * config.lanes) for held in planes]
        for lane in range(config.lanes):
            trits = [word[2 * lane:2 * lane + 2] for word in chosen]
            m.d.comb += self.o.p[lane].eq(table(Cat(trits[::-1]), config.code_bits, code))
        return m

    def ask(self, m):
        """Ask for each tile's planes, from the block of the token's row on."""
        command, request = self.i_command.p, self.o_request
        tiles = Signal(range(PLANES * self.config.max_tiles + 1))  # beats of a block
        address, here = (Signal.like(command.address, name=name, reset_less=True)
                         for name in ("address", "here"))
        plane, tile = Signal(range(PLANES)), Signal.like(command.tiles)
        m.d.comb += [tiles.eq(PLANES * command.tiles), request.p.address.eq(here),
                     request.p.beats.eq(1)]
        with m.FSM():
            with m.State("IDLE"):
                block = command.token >> self.config.rows.bit_length() - 1
                m.d.sync += [address.eq(block * tiles), tile.eq(0)]
                with m.If(self.i_command.valid):
                    m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += [address.eq(address + command.address),
                             here.eq(address + command.address)]
                m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += request.valid.eq(1)
                with m.If(request.ready):
                    m.d.sync += [here.eq(here + command.tiles), plane.eq(plane + 1)]
                    with m.If(plane == PLANES - 1):
                        m.d.sync += [plane.eq(0), tile.eq(tile + 1), address.eq(address + 1),
                                     here.eq(address + 1)]
                        with m.If(tile + 1 == command.tiles):
                            m.next = "GIVE"
            with m.State("GIVE"):
                with m.If(self.i_command.ready):
                    m.next = "IDLE"
