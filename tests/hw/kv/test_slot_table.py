# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from golden_model.kv.reader import rows_read
from golden_model.kv.row_walk import Geometry
from golden_model.kv.slot_table import clear_cycles, configure_cycles, next_row
from golden_model.kv_config import KvCacheConfig
from hw.kv import slot_table
from hw.kv.layouts import Move, Operation
from hw.kv.slot_table import SlotTable
from tests.hw.kv.test_row_walk import fields
from tests.mutants import mutant

CONFIG = KvCacheConfig(lanes=1, rows=24, sinks=6, row_words=3, window=7, slots=3)


def run(scenario, config=CONFIG, build=None):
    dut = (build or SlotTable)(config)

    async def testbench(ctx):
        await scenario(ctx, dut)

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()


async def operate(ctx, dut, op, **rest):
    """Do one operation; return its cycles and errors."""
    ctx.set(dut.i.payload, {"op": op, **rest})
    ctx.set(dut.i.valid, 1)
    cycles, errors, ready = 0, set(), False
    while not ready or cycles == 1:
        *_, ready, found = await ctx.tick().sample(dut.i.ready, dut.errors)
        errors |= {name for name in ("slot", "geometry", "incomplete") if found[name]}
        ctx.set(dut.i.valid, 0)
        ready, cycles = ctx.get(dut.i.ready), cycles + 1
        if ready:
            break
    return cycles, errors


async def look(ctx, dut, slot, stream, value=False, newest=False):
    """Look a stream up from both sides; they must agree, but about a row that is waited for."""
    read, found = (dut.i_v, dut.o_v) if value else (dut.i_k, dut.o_k)
    enable = dut.look_v if value else dut.look_k
    ctx.set(read, {"slot": slot, "stream": stream, "newest": int(newest)})
    ctx.set(dut.i_append, {"slot": slot, "stream": stream, "value": int(value)})
    for signal in (enable, dut.look_append):
        ctx.set(signal, 1)
    await ctx.tick()
    for signal in (enable, dut.look_append):
        ctx.set(signal, 0)
    seen, other = ctx.get(found), ctx.get(dut.o_append)
    for name in ("slot", "stream", "appended", "pending", "length", "index", "append"):
        assert seen[name] == other[name], name
    for name in () if newest else ("bos", "rows", "index", "code", "scale"):
        assert seen.read[name] == other.read[name], name
    return seen


async def note(ctx, dut):
    ctx.set(dut.appended, 1)
    await ctx.tick()
    ctx.set(dut.appended, 0)


@pytest.mark.parametrize("geometry", [Geometry(3, 2, 3, 5), Geometry(1, 6, 1, 2),
                                      Geometry(2, 1, 2, 7)], ids=str)
def test_pointers_follow_the_golden_model(geometry):
    async def scenario(ctx, dut):
        asked = geometry._asdict()
        assert await operate(ctx, dut, Operation.CONFIGURE, **asked) == (
            configure_cycles(geometry), set())
        assert {name: ctx.get(dut.geometry)[name] for name in fields(geometry)} == fields(geometry)
        slot = geometry.slots - 1
        assert await operate(ctx, dut, Operation.CLEAR, slot=slot) == (
            clear_cycles(geometry), set())
        for tokens in range(2 * geometry.window):
            for stream in range(geometry.streams):
                for value in (False, True):
                    found = await look(ctx, dut, slot, stream, value)
                    code, scale = next_row(geometry, tokens)
                    place = found.append
                    assert (found.slot, found.stream, found.appended) == (0, 0, 0)
                    assert found.length == min(tokens, geometry.window)
                    assert found.index == slot * geometry.streams + stream
                    assert (place.bos, place.rows) == (tokens == 0, tokens != 0)
                    assert (place.code, place.scale) == (code, scale)
                    if tokens:
                        check_read(geometry, found.read, rows_read(tokens, False, geometry.window))
                    found = await look(ctx, dut, slot, stream, value, newest=True)
                    assert (found.appended, found.read.bare, found.lacks) == (0, 0, 3 - value)
                    check_read(geometry, found.read, rows_read(tokens, True, geometry.window))
                    await note(ctx, dut)
                    found = await look(ctx, dut, slot, stream, value, newest=True)
                    assert (found.appended, found.read.bare, found.lacks) == (1, 0, 2 * (not value))
                    found = await look(ctx, dut, slot, stream, value)
                    assert found.lacks == 0
                    assert (found.appended, found.read.bare) == (1, not value)
                    check_read(geometry, found.read, rows_read(tokens, True, geometry.window))
            assert await operate(ctx, dut, Operation.ADVANCE, slot=slot) == (1, set())

    run(scenario)


def check_read(geometry, walk, rows):
    ring = [row for row in rows if row is not None]
    assert (walk.bos, walk.rows) == (1, len(ring))
    if ring:
        assert walk.scale == ring[0] * geometry.stride
        assert walk.code == walk.scale * geometry.words


def test_faults():
    async def scenario(ctx, dut):
        assert (await look(ctx, dut, 0, 0)).slot
        assert (await operate(ctx, dut, Operation.CLEAR, slot=0))[1] == {"slot"}
        for wrong in (Geometry(3, 2, 3, 6), Geometry(3, 3, 1, 2), Geometry(0, 1, 1, 2)):
            _, errors = await operate(ctx, dut, Operation.CONFIGURE, **wrong._asdict())
            assert errors == {"geometry"}
            assert ctx.get(dut.geometry.slots) == 0
        await operate(ctx, dut, Operation.CONFIGURE, **Geometry(2, 2, 3, 5)._asdict())
        assert (await operate(ctx, dut, Operation.CLEAR, slot=2))[1] == {"slot"}
        assert (await operate(ctx, dut, Operation.ADVANCE, slot=1))[1] == {"slot"}
        await operate(ctx, dut, Operation.CLEAR, slot=1)
        assert (await operate(ctx, dut, Operation.ADVANCE, slot=1))[1] == {"incomplete"}
        assert (await look(ctx, dut, 1, 2)).stream
        assert not (await look(ctx, dut, 1, 1)).slot
        ctx.set(dut.close, 1)
        await ctx.tick()
        ctx.set(dut.close, 0)
        assert (await look(ctx, dut, 1, 1)).slot

    run(scenario)


async def go_through(ctx, dut, geometry, slot, before, count):
    """Append rows of `count` tokens behind `before` others, stream by stream."""
    for stream in range(geometry.streams):
        for tokens in range(before, before + count):
            if tokens > before:
                assert await operate(ctx, dut, Operation.ADVANCE, slot=slot,
                                     move=Move.NEXT) == (1, set())
            for value in (False, True):
                # A read that runs ahead is of the token whose turn it is, and waits for its row.
                found = await look(ctx, dut, slot, stream, value, newest=True)
                assert (found.appended, found.read.bare, found.lacks) == (0, 0, 3 - value)
                check_read(geometry, found.read, rows_read(tokens, True, geometry.window))
                found = await look(ctx, dut, slot, stream, value)
                assert (found.slot, found.stream, found.appended, found.lacks) == (0, 0, 0, 0)
                assert found.length == min(tokens, geometry.window)
                assert (found.append.code, found.append.scale) == next_row(geometry, tokens)
                assert found.append.bos == (tokens == 0)
                await note(ctx, dut)
                found = await look(ctx, dut, slot, stream, value, newest=True)
                assert (found.appended, found.lacks) == (1, 2 * (not value))
                found = await look(ctx, dut, slot, stream, value)
                assert (found.appended, found.read.bare) == (1, not value)
                check_read(geometry, found.read, rows_read(tokens, True, geometry.window))
        if stream + 1 < geometry.streams:
            assert await operate(ctx, dut, Operation.ADVANCE, slot=slot,
                                 move=Move.FIRST) == (1, set())


def go_on(geometry, counts, build=None):
    """Go on by several tokens at a time."""
    async def scenario(ctx, dut):
        await operate(ctx, dut, Operation.CONFIGURE, **geometry._asdict())
        slot = geometry.slots - 1
        await operate(ctx, dut, Operation.CLEAR, slot=slot)
        before = 0
        for count in counts:
            await go_through(ctx, dut, geometry, slot, before, count)
            assert await operate(ctx, dut, Operation.ADVANCE, slot=slot) == (1, set())
            before += count
            assert not (await look(ctx, dut, slot, 0)).pending
            assert ctx.get(dut.lengths[slot]) == min(before, geometry.window)

    run(scenario, replace(CONFIG, batch=3), build)


@pytest.mark.parametrize(("geometry", "counts"), [
    (Geometry(3, 2, 3, 5), (3, 1, 2, 3, 3, 1, 3)), (Geometry(1, 6, 1, 2), (1, 3, 2, 3)),
    (Geometry(2, 1, 2, 7), (2, 3, 1, 3, 3, 3)),
], ids=str)
def test_several_tokens_in_progress_go_through_each_stream(geometry, counts):
    go_on(geometry, counts)


def test_each_of_several_tokens_has_to_be_complete():
    async def scenario(ctx, dut):
        await operate(ctx, dut, Operation.CONFIGURE, **Geometry(2, 1, 1, 5)._asdict())
        assert (await operate(ctx, dut, Operation.ADVANCE, slot=0, move=Move.NEXT))[1] == {"slot"}
        await operate(ctx, dut, Operation.CLEAR, slot=0)
        for value in (False, True):
            await look(ctx, dut, 0, 0, value)
            await note(ctx, dut)
        assert await operate(ctx, dut, Operation.ADVANCE, slot=0, move=Move.NEXT) == (1, set())
        assert (await operate(ctx, dut, Operation.ADVANCE, slot=0))[1] == {"incomplete"}
        for value in (False, True):
            await look(ctx, dut, 0, 0, value)
            await note(ctx, dut)
        assert await operate(ctx, dut, Operation.ADVANCE, slot=0) == (1, set())
        assert await operate(ctx, dut, Operation.ADVANCE, slot=0, move=Move.NEXT) == (1, set())
        assert await operate(ctx, dut, Operation.ADVANCE, slot=0, move=Move.NEXT) == (1, set())
        # One too many.
        assert (await operate(ctx, dut, Operation.ADVANCE, slot=0, move=Move.NEXT))[1] == {"slot"}

    run(scenario, replace(CONFIG, batch=3))


async def leave(ctx, dut):
    """Leave two tokens of a slot unfinished, then go on in another one."""
    geometry = Geometry(2, 2, 1, 5)
    await operate(ctx, dut, Operation.CONFIGURE, **geometry._asdict())
    for slot in range(2):
        await operate(ctx, dut, Operation.CLEAR, slot=slot)
    await go_through(ctx, dut, geometry, 1, 0, 1)
    assert await operate(ctx, dut, Operation.ADVANCE, slot=1) == (1, set())
    for _ in range(2):
        assert await operate(ctx, dut, Operation.ADVANCE, slot=0, move=Move.NEXT) == (1, set())
    assert await operate(ctx, dut, Operation.ADVANCE, slot=1, move=Move.FIRST) == (1, set())
    await go_through(ctx, dut, geometry, 1, 1, 3)
    assert await operate(ctx, dut, Operation.ADVANCE, slot=1) == (1, set())
    # The one that was left begins anew when it is cleared.
    await operate(ctx, dut, Operation.CLEAR, slot=0)
    await go_through(ctx, dut, geometry, 0, 0, 2)
    assert await operate(ctx, dut, Operation.ADVANCE, slot=0) == (1, set())


def test_unfinished_tokens_of_one_slot_are_nothing_to_another():
    run(leave, replace(CONFIG, batch=3))


@pytest.mark.parametrize(("old", "new"), [
    ("with m.If(owner == asked.slot):", "with m.If(C(1, 1)):"),
    ("m.d.sync += most.eq(0)", "m.d.sync += most.eq(most)"),
])
def test_planted_bugs_in_leaving_tokens_are_seen(old, new):
    with pytest.raises(AssertionError):
        run(leave, replace(CONFIG, batch=3), mutant(SlotTable, old, new))


@pytest.mark.parametrize(("old", "new"), [
    ("with m.If(ahead == 0):", "with m.If(ahead == 1):"),
    ('for name in ("phase", "length", "code", "scale")]',
     'for name in ("phase", "length", "code")]'),
    ('for name in ("phase", "length", "code", "scale")]',
     'for name in ("length", "code", "scale")]'),
    ("ahead.eq(ahead + 1), one.phase.eq(~one.phase)", "ahead.eq(ahead + 1)"),
    ("one.lacking.eq(one.lacking + (self.geometry.streams << 1))", "one.lacking.eq(one.lacking)"),
])
def test_planted_bugs_in_going_through_tokens_are_seen(old, new):
    with pytest.raises(AssertionError):
        go_on(Geometry(3, 2, 3, 5), (3, 1, 2, 3, 3), mutant(SlotTable, old, new))


class Short(SlotTable):
    """Moves on ahead of the first row of the ring."""

    def grow(self, m, slot):
        with m.If(slot.length == 0):
            m.d.sync += slot.code.eq(self.geometry.code_step)
        super().grow(m, slot)


def test_a_look_up_of_the_stream_before_is_noticed(monkeypatch):
    monkeypatch.setitem(globals(), "SlotTable", mutant(
        SlotTable, "looked.eq(look)", "looked.eq(0)"))
    with pytest.raises(AssertionError):
        test_pointers_follow_the_golden_model(Geometry(3, 2, 3, 5))


def test_a_planted_bug_is_noticed(monkeypatch):
    monkeypatch.setitem(globals(), "SlotTable", Short)
    with pytest.raises(AssertionError):
        test_pointers_follow_the_golden_model(Geometry(3, 2, 3, 5))
    assert slot_table.SlotTable is not Short
