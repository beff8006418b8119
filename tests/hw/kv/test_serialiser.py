# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.kv.serialiser import row_beats
from golden_model.kv_config import KvCacheConfig
from hw.kv.serialiser import Serialiser
from sim.simulator import receive, send, simulate


def rows(config, words, count, seed=1):
    """Random rows: memory words and scale."""
    rng = np.random.default_rng(seed)
    return [(rng.integers(0, 16, (words, config.lanes)).tolist(), int(rng.integers(1 << 16)))
            for _ in range(count)]


@pytest.mark.parametrize(("lanes", "beats"), [(1, 1), (8, 1), (9, 2), (33, 5)])
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_matches_golden_model(lanes, beats, stall):
    config = KvCacheConfig(lanes=lanes, row_words=2)
    assert config.row_beats == beats
    dut, got, seen = Serialiser(config), [], []
    cases = rows(config, 2, 6)
    wanted = [beat for words, scale in cases for beat in row_beats(words, scale)]
    payloads = [{"codes": codes, "scale": scale, "bos": 0, "last_word": int(number == 1),
                 "last": 0} for words, scale in cases for number, codes in enumerate(words)]

    async def drive(ctx):
        await send(ctx, dut.i, payloads, stall=stall)

    async def check(ctx):
        await receive(ctx, dut.o, len(wanted), got, stall=stall, log=seen)

    simulate(dut, drive, check)
    assert got == wanted
    assert stall or seen == list(range(len(wanted)))


def test_a_known_row():
    assert row_beats([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]], 0xabcd) == [0x87654321, 0xa9, 0xabcd]
