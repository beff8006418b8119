# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.config import ArrayConfig
from golden_model.mac import digit_words as golden
from hw.mac.digit_words import DigitWords
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIG = ArrayConfig(rows=2, lanes=6, max_k=64, max_m=64)


def run(two, stall=0.0, build=DigitWords):
    dut, got, log = build(CONFIG), [], []
    least, most = (-128, 127) if two else (-12, 12)
    tiles = np.random.default_rng(1).integers(least, most + 1, (20, CONFIG.lanes))
    tiles[0], tiles[1] = least, most
    wanted = [word for tile in tiles.tolist() for word in golden.digit_words(tile, two)]

    async def source(ctx):
        ctx.set(dut.two, int(two))
        await ctx.tick()
        await send(ctx, dut.i, tiles.tolist(), stall=stall)

    async def sink(ctx):
        await receive(ctx, dut.o, len(wanted), got, stall=stall, log=log)
    simulate(dut, source, sink)
    return [list(one) for one in got], wanted, log


@pytest.mark.parametrize("two", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(two, stall):
    got, wanted, log = run(two, stall)
    assert got == wanted
    assert stall or log == list(range(1, len(wanted) + 1))


def test_golden_model_is_pinned():
    assert golden.digit_words([-128, -1, 127, 5], True) == [[-8, -1, 7, 0], [0, 15, 15, 5]]


@pytest.mark.parametrize(("old", "new"), [
    ("self.o.ready & ends", "self.o.ready"),
    ("ends.eq(following | ~self.two)", "ends.eq(~following | ~self.two)"),
    ("Mux(low, code[:DIGIT_WEIGHT_BITS], high)", "Mux(low, high, code[:DIGIT_WEIGHT_BITS])"),
])
def test_planted_bugs_are_seen(old, new):
    for two in (False, True):
        try:
            got, wanted, _ = run(two, 0.5, mutant(DigitWords, old, new))
        except AssertionError:
            return
        if got != wanted:
            return
    raise AssertionError("a planted bug was not seen")
