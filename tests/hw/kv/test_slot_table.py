# SPDX-License-Identifier: Apache-2.0
import pytest
from amaranth.sim import Simulator

from golden_model.kv.reader import rows_read
from golden_model.kv.row_walk import Geometry
from golden_model.kv.slot_table import clear_cycles, configure_cycles, next_row
from golden_model.kv_config import KvCacheConfig
from hw.kv import slot_table
from hw.kv.layouts import Operation
from hw.kv.slot_table import SlotTable
from tests.hw.kv.test_row_walk import fields
from tests.mutants import mutant

CONFIG = KvCacheConfig(lanes=1, rows=24, sinks=6, row_words=3, window=7, slots=3)


def run(scenario):
    dut = SlotTable(CONFIG)

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
