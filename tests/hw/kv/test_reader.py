# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.kv.reader import READER_LATENCY, address_cycles, rows_read
from golden_model.kv.row_walk import Geometry, row_addresses
from golden_model.kv_config import KvCacheConfig
from hw.kv import cache
from hw.kv.layouts import Operation
from hw.kv.reader import Reader
from sim.simulator import PATIENCE, receive, simulate
from tests.hw.kv.bench import Bench
from tests.hw.kv.test_cache import CASES as CACHES
from tests.hw.kv.test_cache import WIDE, opened, read_all
from tests.hw.kv.test_row_walk import fields
from tests.mutants import mutant

CONFIG = KvCacheConfig(lanes=1, rows=24, sinks=4, row_words=3, window=7, slots=2)
GEOMETRY = Geometry(2, 2, 2, 7)


def finding(rows, index, fault):
    """Say what the table would, so that the rows are read; `fault` names an error."""
    found = {name: int(name == fault) for name in ("slot", "stream")}
    ring = [row for row in rows if row is not None]
    start = ring[0] if ring else 0
    stride = GEOMETRY.stride
    return found | {"appended": 0, "length": 0 if fault == "unwritten" else 1, "index": index,
                    "read": {"bos": 1, "rows": len(ring), "poison": 0, "bare": 0, "index": index,
                             "code": start * GEOMETRY.words * stride, "scale": start * stride}}


def run(dut, cases, stall=0.0):
    """Give commands with their findings; return cycles of commands and addresses."""
    rng = np.random.default_rng(3)
    wanted, offered, seen, got, events = [], [], [], [], set()
    for rows, index, fault in cases:
        some = [(0, 0, False, n == 1, n == 1) for n in range(2)] if fault else None
        wanted += some or [(a.code, a.scale, a.bos, a.last_word, a.last)
                           for a in row_addresses(GEOMETRY, index, rows)]

    async def drive(ctx):
        ctx.set(dut.geometry, fields(GEOMETRY))
        todo = list(cases)
        for cycle in range(PATIENCE):
            if not todo:
                break
            ctx.set(dut.i.valid, int(rng.random() >= stall))
            *_, valid, ready = await ctx.tick().sample(dut.i.valid, dut.i.ready)
            if valid and ready:
                rows, index, fault = todo.pop(0)
                ctx.set(dut.finding, finding(rows, index, fault))
                offered.append(cycle)
        ctx.set(dut.i.valid, 0)

    async def check(ctx):
        await receive(ctx, dut.o, len(wanted), got, stall=stall, log=seen)

    async def watch(ctx):
        for _ in range(40):
            *_, found = await ctx.tick().sample(dut.events)
            events.update(name for name in ("slot", "stream", "unwritten") if found[name])

    simulate(dut, drive, check, watch)
    poisons = [bool(p.poison) for p in got]
    assert poisons == [bool(fault) for rows, _, fault in cases
                       for _ in range(2 * (1 if fault else len(rows)))]
    plain = [(p.code, p.scale, bool(p.bos), bool(p.last_word), bool(p.last)) for p in got]
    assert [one[3:] for one in plain] == [one[3:] for one in wanted]
    assert [one for one, poison in zip(plain, poisons) if not poison] == [
        one for one, poison in zip(wanted, poisons) if not poison]
    return offered, seen, events


CASES = [(rows_read(tokens, appended, GEOMETRY.window), (tokens + appended) % 4, "")
         for tokens in range(1, 15) for appended in (False, True)]


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_matches_golden_model(stall):
    run(Reader(CONFIG), CASES, stall)


def test_no_cycle_is_lost_between_commands():
    offered, seen, _ = run(Reader(CONFIG), CASES)
    assert offered[0] == 0
    assert seen == address_cycles([(0, 2 * len(rows)) for rows, *_ in CASES])
    assert seen == list(range(READER_LATENCY, READER_LATENCY + len(seen)))


@pytest.mark.parametrize("fault", ["slot", "stream", "unwritten"])
def test_what_cannot_be_read_is_one_row_of_poison(fault):
    *_, events = run(Reader(CONFIG), [CASES[3], ([None], 0, fault), CASES[8]])
    assert events == {fault}


def test_rows_of_known_tokens():
    assert rows_read(0, True, 4) == [None]
    assert rows_read(3, False, 4) == [None, 0, 1]
    assert rows_read(4, False, 4) == [None, 0, 1, 2]
    assert rows_read(4, True, 4) == [None, 1, 2, 0]
    assert rows_read(9, False, 4) == [None, 2, 0, 1]
    assert rows_read(5, False, 2) == [None, 0]


def reads_ahead(name, stall, dut=None):
    """Ask for rows that are still to come, of every length up to beyond the window."""
    config, geometry = CACHES[name]

    async def scenario(bench):
        await opened(bench, *geometry)
        for number in range(geometry[3] + 2):
            for slot in range(geometry[0]):
                bench.token(slot)
                for _ in range(1 + number % 2):
                    for stream in range(geometry[1]):
                        for value in (False, True):
                            bench.read(slot, stream, value, newest=True)
                if number % 3:  # words of rows come late: reads wait at their last row
                    words = list(bench.queues["i_row"])
                    bench.queues["i_row"].clear()
                    for _ in range(10 * number):
                        await bench.step()
                    bench.queues["i_row"].extend(words)
                await bench.drain()
                read_all(bench, slot)
                bench.control(Operation.ADVANCE, slot=slot)
                await bench.drain()
        await bench.check_errors()

    Bench(config, stall=stall, seed=6, dut=dut).run(scenario)


@pytest.mark.parametrize(("name", "stall"), [
    ("small", 0.0), ("small", 0.3), ("protected", 0.3), ("shared", 0.0), ("wide", 0.3),
    ("pair", 0.0)])
def test_reads_wait_for_the_newest_row_only(name, stall):
    reads_ahead(name, stall)


@pytest.mark.parametrize(("old", "new"), [
    ("early.eq(walk.last_row & lacks.any())", "early.eq(0)"),
    ("early.eq(walk.last_row & lacks.any())", "early.eq(walk.last_row & lacks[0])"),
    ("walk.o.ready.eq(self.o.ready & ~early)", "walk.o.ready.eq(self.o.ready)")])
def test_a_newest_row_read_too_early_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr(cache, "Reader", mutant(Reader, old, new))
    with pytest.raises(AssertionError, match=r"^o_[kv]|hangs$"):
        reads_ahead("small", 0.0)


def test_a_newest_row_is_read_as_soon_as_it_can_be():
    """Its address is given two cycles behind its last word, and not before."""
    async def scenario(bench):
        await opened(bench, 1, 1, 1, 10)
        await bench.tokens(0, 4)
        for value in (False, True):
            bench.append(0, 0, value)
            bench.read(0, 0, value, newest=True)
        late = bench.queues["i_row"].pop()
        for _ in range(20):
            await bench.step()
        assert [len(bench.wanted[name]) for name in ("o_k", "o_v")] == [1, 1]
        bench.queues["i_row"].append(late)
        await bench.drain()
        given = bench.cycles["i_row"][-1]
        for name in ("o_k", "o_v"):
            assert bench.cycles[name][-1] == given + 2 + WIDE.bank_latency

    Bench(WIDE).run(scenario)
