# SPDX-License-Identifier: Apache-2.0
"""Rounds of an instruction, seen at two units; whole instructions are the decoder's tests."""

import pytest
from amaranth import *
from amaranth.lib import data, stream

from golden_model.instruction_config import OPCODES
from hw.control.dispatch import Dispatch
from hw.control.sequencer import instruction_layout
from sim.simulator import simulate
from tests.mutants import mutant


class Bench(Elaboratable):
    """One unit that every round of an ``embed`` needs, one that only the first one does."""

    def __init__(self, batch, build=Dispatch):
        self.batch, self.build = batch, build
        self.instruction = stream.Signature(instruction_layout).create()
        self.tokens, self.single = Signal(range(batch + 1)), Signal()
        self.each, self.once = (stream.Signature(data.StructLayout({"token": 2})).create()
                                for _ in range(2))

    def elaborate(self, platform):
        m = Module()
        op = Cat(self.instruction.valid & (self.instruction.p.opcode == code)
                 for code in range(len(OPCODES)))
        self.units = units = self.build(m, self.instruction, op, ~op, self.tokens, self.batch)
        token = 3 if units.token is None else units.token
        units.offer("each", self.each, embed={"token": token})
        units.offer("once", self.once, once=True, embed={"token": token})
        if self.batch > 1:
            m.d.comb += units.single.eq(self.single)
        units.close()
        return m


def run(batch, tokens, single=False, build=Dispatch):
    """Return unit, token and cycle of each transfer of two instructions, and when these end."""
    bench, seen, done = Bench(batch, build), [], []

    async def drive(ctx):
        ctx.set(bench.instruction.p.opcode, OPCODES["embed"])
        ctx.set(bench.instruction.valid, 1)
        ctx.set(bench.tokens, tokens)
        ctx.set(bench.single, single)
        for cycle in range(40):
            # The one takes two cycles each time, the other three.
            ctx.set(bench.each.ready, cycle % 2)
            ctx.set(bench.once.ready, cycle % 3 == 2)
            for name in ("each", "once"):
                port = getattr(bench, name)
                if ctx.get(port.valid) and ctx.get(port.ready):
                    seen.append((name, ctx.get(port.p.token), cycle))
            if ctx.get(bench.instruction.ready):
                done.append(cycle)
                if len(done) == 2:
                    break
            await ctx.tick()

    simulate(bench, drive)
    return seen, done


def test_without_a_batch_an_instruction_has_one_round():
    assert run(1, 1) == ([("each", 3, 1), ("once", 3, 2), ("each", 3, 5), ("once", 3, 5)], [3, 6])


def test_each_token_has_a_round_and_the_first_one_what_comes_once():
    assert run(3, 3) == ([("each", 0, 1), ("once", 0, 2), ("each", 1, 5), ("each", 2, 7),
                          ("each", 0, 9), ("once", 0, 11), ("each", 1, 13), ("each", 2, 15)],
                         [8, 16])


def test_fewer_tokens_have_fewer_rounds():
    assert run(3, 1) == ([("each", 0, 1), ("once", 0, 2), ("each", 0, 5), ("once", 0, 5)], [3, 6])


def test_a_single_round_is_the_last_tokens():
    assert run(3, 3, single=True) == (
        [("each", 2, 1), ("once", 2, 2), ("each", 2, 5), ("once", 2, 5)], [3, 6])


@pytest.mark.parametrize(("old", "new"), [
    ("number.eq(Mux(last, 0, number + 1))", "number.eq(number + 1)"),
    ("self.done.eq(self.round & last)", "self.done.eq(self.round)"),
    ("self.first.eq(number == 0)", "self.first.eq(1)"),
    ("tokens - 1, number))", "0, number))"),
])
def test_planted_bugs_are_seen(old, new):
    build = mutant(Dispatch, old, new)
    assert any(run(3, tokens, single, build) != run(3, tokens, single)
               for tokens in (1, 3) for single in (False, True))
