# SPDX-License-Identifier: Apache-2.0
import pytest

from golden_model.control.token_run import token_cycles
from golden_model.control_config import SequencerConfig, TokenRunConfig
from golden_model.image_config import ImagePortConfig
from golden_model.kv_config import KvCacheConfig
from hw.control.token_run import TokenRun
from hw.kv.layouts import Operation
from sim.simulator import simulate
from tests.mutants import mutant

CONFIG = TokenRunConfig(sequencer=SequencerConfig(port=ImagePortConfig(beat_bits=32)),
                        cache=KvCacheConfig(slots=3))
PROGRAM = {"address": 77, "count": 30, "head_count": 27}
JOBS = [  # token, run's cycles, fault, cycles of the cache's command
    ({"token": 5, "slot": 2, "position": 9, "skip_head": 0}, 3, 0, 1),
    ({"token": 1, "slot": 0, "position": 0, "skip_head": 1}, 1, 0, 4),
    ({"token": 2, "slot": 1, "position": 1, "skip_head": 0}, 2, 1, None),
    ({"token": 3, "slot": 1, "position": 1, "skip_head": 0}, 7, 0, 2),
]


def run(build=TokenRun):
    """For each token what its run and its cache command asked for, and its cycles."""
    dut, seen = build(CONFIG), []

    async def drive(ctx):
        ctx.set(dut.program, PROGRAM)
        ctx.set(dut.idle, 1)
        for token, length, fault, advance in JOBS:
            ctx.set(dut.i_token.p, token)
            ctx.set(dut.i_token.valid, 1)
            asked, offered, waited, advanced, busy = [], None, 0, None, []
            for cycle in range(40):
                running, commanded = ctx.get(dut.o_run.valid), ctx.get(dut.o_control.valid)
                if running:
                    offered = cycle if offered is None else offered
                    waited += 1
                    asked = [ctx.get(dut.o_run.p.address), ctx.get(dut.o_run.p.count)]
                if commanded:
                    advanced = cycle if advanced is None else advanced
                    asked += [ctx.get(dut.o_control.p.op), ctx.get(dut.o_control.p.slot)]
                ctx.set(dut.o_run.ready, int(running and waited == length))
                ctx.set(dut.fault, int(bool(running) and fault and waited == length))
                ctx.set(dut.o_control.ready, int(bool(commanded)
                                                 and cycle - advanced + 1 == advance))
                busy.append(ctx.get(dut.busy))
                if ctx.get(dut.i_token.ready):
                    seen.append((asked[:4], (offered, advanced, cycle), sum(busy)))
                    break
                await ctx.tick()
            await ctx.tick()
    simulate(dut, drive)
    return seen


def expected():
    wanted = []
    for token, length, fault, advance in JOBS:
        cycles = token_cycles(length, advance)
        count = PROGRAM["head_count"] if token["skip_head"] else PROGRAM["count"]
        wanted.append(([77, count] + ([] if fault else [Operation.ADVANCE, token["slot"]]),
                       tuple(cycles), cycles.done))
    return wanted


def test_matches_golden_model():
    assert run() == expected()


def test_golden_model_is_pinned():
    assert tuple(token_cycles(3, 1)) == (1, 4, 5)
    assert tuple(token_cycles(2, None)) == (1, None, 3)


def test_a_control_command_goes_ahead_of_a_waiting_token():
    dut = TokenRun(CONFIG)

    async def drive(ctx):
        ctx.set(dut.i_token.valid, 1)
        ctx.set(dut.i_control.valid, 1)
        ctx.set(dut.i_control.p.op, Operation.CLEAR)
        for _ in range(4):
            await ctx.tick()
            assert not ctx.get(dut.busy)
            assert ctx.get(dut.o_control.valid)
            assert ctx.get(dut.o_control.p.op) == Operation.CLEAR
            assert not ctx.get(dut.i_control.ready)
        ctx.set(dut.o_control.ready, 1)
        assert ctx.get(dut.i_control.ready)
        await ctx.tick()
        ctx.set(dut.o_control.ready, 0)
        ctx.set(dut.i_control.valid, 0)
        await ctx.tick()   # the command is still at work
        assert not ctx.get(dut.busy)
        ctx.set(dut.idle, 1)
        await ctx.tick()
        assert ctx.get(dut.busy)
        ctx.set(dut.i_control.valid, 1)
        await ctx.tick()
        assert not ctx.get(dut.o_control.valid)
    simulate(dut, drive)


@pytest.mark.parametrize(("old", "new"), [
    ('m.next = "DONE"\n            with m.State("ADVANCE")',
     'm.next = "ADVANCE"\n            with m.State("ADVANCE")'),
    ("Mux(token.p.skip_head, self.program.head_count,", "Mux(0, self.program.head_count,"),
    ("inner.p.slot.eq(token.p.slot)", "inner.p.slot.eq(0)"),
])
def test_planted_bugs_are_seen(old, new):
    assert run(mutant(TokenRun, old, new)) != expected()
