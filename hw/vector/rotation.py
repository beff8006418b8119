# SPDX-License-Identifier: Apache-2.0
"""Sums of keys, values and queries to the words that attention takes."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import WORD_BITS
from golden_model.stream_config import RotationConfig
from hw.vector.rope import Rope

__all__ = ["Rotation", "turns_layout"]


class Part(enum.Enum, shape=unsigned(2)):
    """Which heads come, in this order, if no queries come ahead."""

    KEYS = 0
    VALUES = 1
    QUERIES = 2


def turns_layout(config: RotationConfig):
    """Cosines and sines of one beat's pairs."""
    pair = data.StructLayout({"cos": signed(config.rope.table_bits),
                              "sin": signed(config.rope.table_bits)})
    return data.ArrayLayout(pair, config.rope.pairs)


class Rotation(wiring.Component):
    """Heads of keys and queries turned by their position, those of values as they are.

    Neighbouring sums are a pair: the rows of Wk and Wq are stored in such an order that element i
    of a head stands beside element i + n / 2.  Scores do not depend on the order of elements that
    keys and queries share.  Words of values are the sums; those of keys and queries have
    ``config.extra_bits`` more fraction bits.

    A beat of sums a cycle, the words of ``config.parts`` beats ``config.latency`` cycles after the
    last of them.  ``i.ready`` depends combinationally on ``o.ready``.

    Members
    -------
    i_command : :py:`In(stream.Signature(StructLayout({"heads", "kv_heads", "blocks"})))`
        Heads of queries, with ``config.ahead`` those of one KV head, of keys and of values, and
        beats of a head, a multiple of ``config.parts``.  Accepted with the last sums.
    i : :py:`In(stream.Signature(ArrayLayout(signed(sum_bits), rows)))`
    i_turns : :py:`In(stream.Signature(turns_layout(config)))`
        For each head of keys and of queries those of its beats.
    o : :py:`Out(stream.Signature(ArrayLayout(signed(24), lanes)))`
    """

    def __init__(self, config: RotationConfig):
        self.config = config
        heads = range(config.max_heads + 1)
        super().__init__({
            "i_command": In(stream.Signature(data.StructLayout({
                "heads": heads, "kv_heads": heads, "blocks": range(config.max_blocks + 1),
            }))),
            "i": In(stream.Signature(data.ArrayLayout(signed(config.sum_bits), config.rows))),
            "i_turns": In(stream.Signature(turns_layout(config))),
            "o": Out(stream.Signature(data.ArrayLayout(signed(WORD_BITS), config.lanes))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.rope = rope = Rope(config.rope)
        block = Signal(range(config.max_blocks + 1))
        command, taken = self.i_command.p, self.i.valid & self.i.ready
        head_ends = taken & (block + 1 == command.blocks)
        with m.If(taken):
            m.d.sync += block.eq(Mux(head_ends, 0, block + 1))
        still = (self.walk_groups if config.ahead else self.walk)(m, head_ends)
        m.d.comb += [
            rope.i.valid.eq(self.i.valid & self.i_command.valid & (still | self.i_turns.valid)),
            self.i.ready.eq(rope.i.ready & self.i_command.valid & (still | self.i_turns.valid)),
            self.i_turns.ready.eq(taken & ~still),
        ]
        for n in range(config.rope.pairs):
            turn = self.i_turns.p[n]
            m.d.comb += [
                rope.i.p.a[n].eq(self.i.p[2 * n]), rope.i.p.b[n].eq(self.i.p[2 * n + 1]),
                # As many fraction bits as the rotation drops: a value's word is its sum.
                rope.i.p.cos[n].eq(Mux(still, 1 << config.rope.dropped_bits, turn.cos)),
                rope.i.p.sin[n].eq(Mux(still, 0, turn.sin)),
            ]

        filled = Signal(range(config.parts))
        m.d.comb += rope.o.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(rope.o.valid & rope.o.ready):
            full = filled == config.parts - 1
            m.d.sync += [self.o.valid.eq(full), filled.eq(Mux(full, 0, filled + 1))]
            words = [word for pair in zip(rope.o.p.a, rope.o.p.b) for word in pair]
            for n in range(config.parts):
                with m.If(filled == n):
                    m.d.sync += [self.o.p[n * config.rows + lane].eq(word)
                                 for lane, word in enumerate(words)]
        return m

    def walk(self, m, head_ends):
        """Go through keys, values and queries; return whether the head is a value's."""
        command = self.i_command.p
        part, head = Signal(Part), Signal(range(self.config.max_heads + 1))
        part_ends = head + 1 == Mux(part == Part.QUERIES, command.heads, command.kv_heads)
        with m.If(head_ends):
            m.d.sync += head.eq(head + 1)
            with m.If(part_ends):
                m.d.sync += [head.eq(0), part.eq(part.as_value() + 1)]
                with m.If(part == Part.QUERIES):
                    m.d.comb += self.i_command.ready.eq(1)
                    m.d.sync += part.eq(Part.KEYS)
        return part == Part.VALUES

    def walk_groups(self, m, head_ends):
        """Go through the heads of one KV head after the other; return the same."""
        config, command = self.config, self.i_command.p
        head, group = (Signal(range(config.max_heads + 2), name=name) for name in ("head", "group"))
        still = Signal()
        with m.If(head_ends):
            m.d.sync += [head.eq(head + 1), still.eq(head == config.ahead)]
            with m.If(head == command.heads + 1):  # behind as many are key and value
                m.d.sync += [head.eq(0), group.eq(group + 1)]
                with m.If(group + 1 == command.kv_heads):
                    m.d.comb += self.i_command.ready.eq(1)
                    m.d.sync += group.eq(0)
        return still
