# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.image import splitter as golden
from golden_model.image_config import SplitterConfig
from hw.image.splitter import Splitter
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIGS = [SplitterConfig(beat_bits=128, word_bits=48), SplitterConfig(beat_bits=9, word_bits=9),
           SplitterConfig(beat_bits=13, word_bits=3), SplitterConfig(beat_bits=8, word_bits=1)]


def vectors(config, seed=1):
    rng = np.random.default_rng(seed)
    sizes = [1, 1, config.per_beat, config.per_beat + 1, 2 * config.per_beat, 7, 30]
    return [[int.from_bytes(rng.bytes(16), "little") % (1 << config.word_bits)
             for _ in range(size)] for size in sizes]


def run(config, given, stall=0.0, build=Splitter):
    """Words, end markers, and the cycles of beats and words."""
    dut, got, taken, cycles = build(config), [], [], []

    async def commands(ctx):
        await send(ctx, dut.i_command, [{"words": len(words)} for words in given], stall=stall)

    async def source(ctx):
        # Bits that are left of a beat must not matter.
        spare = -1 << (config.per_beat * config.word_bits) & (1 << config.beat_bits) - 1
        await send(ctx, dut.i, [beat | spare for words in given
                                for beat in golden.join(config, words)], stall=stall, log=taken)

    async def sink(ctx):
        await receive(ctx, dut.o, sum(map(len, given)), got, stall=stall, log=cycles)
    simulate(dut, commands, source, sink)
    return ([one.word for one in got], [n for n, one in enumerate(got) if one.last],
            (taken, cycles))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    given = vectors(config)
    words, ends, cycles = run(config, given, stall)
    assert words == [word for each in given for word in each]
    assert ends == (np.cumsum([len(each) for each in given]) - 1).tolist()
    assert stall or cycles == golden.schedule(config, [len(each) for each in given])


def test_golden_model_is_pinned():
    config = CONFIGS[2]
    assert golden.join(config, [1, 2, 3, 4, 5]) == [0b100_011_010_001, 5]
    assert golden.split(config, [0b1_100_011_010_001, 5], 5) == [1, 2, 3, 4, 5]
    assert golden.schedule(config, [5, 1]) == ([0, 4, 5], [1, 2, 3, 4, 5, 6])


@pytest.mark.parametrize(("old", "new"), [
    ("(held == 1) | self.o.p.last", "(held == 1)"),
    ("Mux(self.o.p.last, 1, number + 1)", "number + 1"),
    ("(held == 0) | done", "(held == 0) | accepted"),
])
def test_a_planted_bug_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    given = vectors(CONFIGS[2])
    try:
        words, *_ = run(CONFIGS[2], given, 0.5, build=mutant(Splitter, old, new))
    except AssertionError:
        return   # it hangs
    assert words != [word for each in given for word in each]
