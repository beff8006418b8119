# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.kv.reader import READER_LATENCY, address_cycles, rows_read
from golden_model.kv.row_walk import Geometry, row_addresses
from golden_model.kv_config import KvCacheConfig
from hw.kv.reader import Reader
from sim.simulator import PATIENCE, receive, simulate
from tests.hw.kv.test_row_walk import fields

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
