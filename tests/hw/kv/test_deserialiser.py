# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.kv.deserialiser import rows_of_beats
from golden_model.kv.serialiser import row_beats
from golden_model.kv_config import KvCacheConfig
from hw.kv.deserialiser import Deserialiser
from sim.simulator import receive, send, simulate


@pytest.mark.parametrize("lanes", [1, 8, 9, 33])
@pytest.mark.parametrize("words", [1, 3])
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_matches_golden_model(lanes, words, stall):
    config = KvCacheConfig(lanes=lanes, row_words=3)
    rng = np.random.default_rng(lanes)
    rows = [(rng.integers(0, 16, (words, lanes)).tolist(), int(rng.integers(1 << 16)))
            for _ in range(5)]
    beats = [beat for codes, scale in rows for beat in row_beats(codes, scale)]
    assert list(rows_of_beats(config, words, beats)) == rows
    dut, got, sent = Deserialiser(config), [], []

    async def drive(ctx):
        ctx.set(dut.words, words)
        await send(ctx, dut.i, beats, stall=stall, log=sent)

    async def check(ctx):
        await receive(ctx, dut.o, len(rows) * words, got, stall=stall)

    simulate(dut, drive, check)
    assert [list(word.codes) for word in got] == [word for codes, _ in rows for word in codes]
    assert [bool(word.last) for word in got] == ([False] * (words - 1) + [True]) * len(rows)
    assert [word.scale for word in got[words - 1::words]] == [scale for _, scale in rows]
    # A cycle is lost to each memory word.
    assert stall or sent[-1] == len(beats) - 1 + len(rows) * words - 1


def test_a_known_row():
    config = KvCacheConfig(lanes=10)
    assert list(rows_of_beats(config, 1, [0x87654321, 0xa9, 0xabcd])) == [
        ([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]], 0xabcd)]
