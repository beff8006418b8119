# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.kv.row_walk import Address, Geometry, row_addresses
from golden_model.kv_config import KvCacheConfig
from hw.kv import row_walk
from hw.kv.row_walk import RowWalk
from sim.simulator import receive, send, simulate

CONFIG = KvCacheConfig(lanes=1, rows=40, sinks=9, row_words=3, window=8, slots=2)


def fields(geometry):
    """Geometry as the hardware holds it."""
    step = geometry.words * geometry.stride
    return {"slots": geometry.slots, "streams": geometry.streams, "words": geometry.words,
            "window": geometry.window, "stride": geometry.stride, "code_step": step,
            "code_end": step * geometry.ring, "scale_end": geometry.stride * geometry.ring}


def walks(geometry, seed):
    """Random walks, as commands and as addresses; the whole ring from each row on among them."""
    rng = np.random.default_rng(seed)
    cases = [(True, geometry.ring, first) for first in range(geometry.ring)]
    cases += [(bool(rng.integers(2)), int(rng.integers(1, geometry.ring + 1)),
               int(rng.integers(geometry.ring))) for _ in range(12)]
    cases += [(True, 0, 0), (False, 1, 0)]
    for bos, count, first in cases:
        index = int(rng.integers(geometry.stride))
        rows = [None] * bos + [(first + n) % geometry.ring for n in range(count)]
        yield ({"bos": bos, "rows": count, "poison": 0, "bare": int(index % 2), "index": index,
                "code": first * geometry.words * geometry.stride,
                "scale": first * geometry.stride}, row_addresses(geometry, index, rows))


def run(dut, geometry, cases, stall=0.0):
    got, sent, seen = [], [], []
    wanted = [address for _, addresses in cases for address in addresses]

    async def drive(ctx):
        ctx.set(dut.geometry, fields(geometry))
        await send(ctx, dut.i, [command for command, _ in cases], stall=stall, log=sent)

    async def check(ctx):
        await receive(ctx, dut.o, len(wanted), got, stall=stall, log=seen)

    simulate(dut, drive, check)
    assert [Address(bool(p.bos), p.code, p.scale, bool(p.last_word), bool(p.last))
            for p in got] == wanted
    return sent, seen


@pytest.mark.parametrize("geometry", [Geometry(2, 3, 2, 7), Geometry(1, 1, 3, 8),
                                      Geometry(2, 4, 1, 2), Geometry(1, 5, 1, 3)], ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_matches_golden_model(geometry, stall):
    run(RowWalk(CONFIG), geometry, list(walks(geometry, 2)), stall)


def test_an_address_a_cycle():
    geometry = Geometry(2, 3, 2, 7)
    cases = list(walks(geometry, 3))
    sent, seen = run(RowWalk(CONFIG), geometry, cases)
    assert seen == list(range(1, 1 + len(seen)))
    lengths = np.cumsum([0, *(len(addresses) for _, addresses in cases[:-1])])
    assert sent == lengths.tolist()


@pytest.mark.parametrize("broken", [
    lambda _wraps, _around, on: on, lambda _wraps, around, _on: around],
    ids=["never_wraps", "always_wraps"])
def test_a_planted_bug_is_noticed(monkeypatch, broken):
    monkeypatch.setattr(row_walk, "Mux", broken)
    geometry = Geometry(2, 3, 2, 7)
    with pytest.raises(AssertionError):
        run(RowWalk(CONFIG), geometry, list(walks(geometry, 2)))
