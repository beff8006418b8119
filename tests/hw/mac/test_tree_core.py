# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.config import ArrayConfig
from golden_model.mac.tree_core import CoreCycles, tree_core
from hw.mac.tree_core import TreeCore
from sim.simulator import run_cycles

CONFIGS = [ArrayConfig(rows=rows, lanes=lanes, digit_bits=bits, levels_per_stage=levels,
                       max_k=max_k)
           for rows, lanes, bits, levels, max_k in (
               (1, 1, 4, 1, 1), (2, 3, 5, 1, 7), (3, 5, 4, 2, 20), (4, 16, 5, 2, 64))]


def addresses(config):
    """Return every address, as fields."""
    return [{"bank": bank, "tile": tile, "digit": digit} for bank in range(2)
            for tile in range(config.max_tiles) for digit in range(config.max_digits)]


def check_core(config, stall=0.0, count=60):
    """Write every word, then multiply: values, tags, order, and every cycle of the handshakes."""
    rng = np.random.default_rng(5)
    low, stop = config.dot.digit_range.start, config.dot.digit_range.stop
    places = addresses(config)
    words = rng.integers(low, stop, (len(places), config.lanes))
    chosen = rng.integers(0, len(places), count)
    w = rng.integers(-2, 2, (count, config.rows, config.lanes))
    w[0], words[chosen[0]] = -1, low
    dut = TreeCore(config, 4)
    model = CoreCycles(config)
    beats = [{"address": places[place], "w": w[n].tolist(), "tag": n & 15}
             for n, place in enumerate(chosen)]

    def check(seen):
        (_, x_ready), (i_valid, i_ready), (o_valid, o_ready) = seen["i_x"], seen["i"], seen["o"]
        assert (x_ready, o_valid, i_ready) == (1, model.tag is not None, model.ready(o_ready))
        model.tick(i_valid or None, o_ready)

    writes = [{"address": place, "x": word} for place, word in zip(places, words.tolist())]
    # No beat comes earlier than the last write: idle beats at the front read word 0.
    idle = [{"address": places[0], "w": np.zeros_like(w[0]).tolist(), "tag": 0}] * len(places) * 8
    taken = run_cycles(dut, {"i_x": writes, "i": idle + beats}, {"o": len(idle) + count},
                       stall=stall, rng=rng, check=check)["o"][len(idle):]
    assert [payload.tag for _, payload in taken] == [n & 15 for n in range(count)]
    got = [[payload.sums[row] for row in range(config.rows)] for _, payload in taken]
    assert got == tree_core(config, w, words[chosen]).tolist()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["full_rate", "stalled"])
def test_matches_golden_model_in_value_and_cycle(config, stall):
    check_core(config, stall)


@pytest.mark.parametrize(("lanes", "levels", "latency"), [(1, 1, 2), (16, 1, 5), (64, 2, 4)])
def test_latency_is_pinned(lanes, levels, latency):
    config = ArrayConfig(rows=1, lanes=lanes, levels_per_stage=levels, max_k=lanes)
    beat = {"address": {"bank": 0, "tile": 0, "digit": 0}, "w": [[0] * lanes], "tag": 1}
    (cycle, _), = run_cycles(TreeCore(config, 1), {"i": [beat]}, {"o": 1})["o"]
    assert cycle == config.core_latency == latency


def test_a_word_is_seen_by_beats_after_it_and_not_by_the_one_beside_it():
    config = ArrayConfig(rows=1, lanes=1, max_k=1)
    place = {"bank": 1, "tile": 0, "digit": 0}
    writes = [{"address": place, "x": [x]} for x in (3, 5, 7)]
    beats = [{"address": place, "w": [[1]], "tag": 0}] * 4
    taken = run_cycles(TreeCore(config, 1), {"i_x": writes, "i": beats}, {"o": 4})["o"]
    assert [payload.sums[0] for _, payload in taken] == [0, 3, 5, 7]


def test_model_refuses_other_shapes():
    config = ArrayConfig(rows=2, lanes=4)
    with pytest.raises(ValueError, match="do not fit 2 rows of 4 lanes"):
        tree_core(config, np.zeros((1, 2, 3), np.int64), np.zeros((1, 4), np.int64))


def no_stall(m, dut):
    """Move the trees although nobody takes their sums."""
    return [dut.i.ready.eq(1)]


def first_row_lost(m, dut):
    return [dut.o.p.sums[0].eq(0)]


@pytest.mark.parametrize("mutant", [no_stall, first_row_lost])
def test_planted_bug_is_found(monkeypatch, mutant):
    elaborate = TreeCore.elaborate

    def mutated(self, platform):
        m = elaborate(self, platform)
        m.d.comb += mutant(m, self)
        return m

    monkeypatch.setattr(TreeCore, "elaborate", mutated)
    with pytest.raises(AssertionError):
        check_core(CONFIGS[1], stall=0.4)
