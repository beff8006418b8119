# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.stream_config import NarrowerConfig
from golden_model.vector import narrower as golden
from hw.vector.narrower import Narrower
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIGS = [NarrowerConfig(width=8, lanes=2, bits=5, max_n=40),
           NarrowerConfig(width=3, lanes=3, bits=20, max_n=30),
           NarrowerConfig(width=6, lanes=1, bits=2, max_n=33)]


def vectors(config, seed=1):
    rng = np.random.default_rng(seed)
    peak = 1 << config.bits - 1
    for beats in (1, config.parts, 1, config.parts + 1, config.max_beats):
        blocks = -(-beats // config.parts)
        yield rng.integers(-peak, peak, (blocks, config.width)), beats


def run(config, given, stall=0.0, build=Narrower):
    dut, got, taken, cycles = build(config), [], [], []

    async def commands(ctx):
        await send(ctx, dut.i_command, [{"beats": beats, "single": beats == 1}
                                        for _, beats in given], stall=stall)

    async def source(ctx):
        await send(ctx, dut.i, [row for wide, _ in given for row in wide.tolist()], stall=stall,
                   log=taken)

    async def sink(ctx):
        await receive(ctx, dut.o, sum(beats for _, beats in given), got, stall=stall, log=cycles)
    simulate(dut, commands, source, sink)
    return ([list(one.values) for one in got], [n for n, one in enumerate(got) if one.last],
            taken, cycles)


def expected(config, given):
    return [row for wide, beats in given for row in golden.narrow(config, wide, beats).tolist()]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    given = list(vectors(config))
    values, ends, taken, cycles = run(config, given, stall)
    assert values == expected(config, given)
    starts = np.cumsum([0, *(beats for _, beats in given)])
    assert ends == (starts[1:] - 1).tolist()
    if not stall:
        assert cycles == list(range(len(values)))
        assert taken == [start + cycle for (_, beats), start in zip(given, starts)
                         for cycle in golden.schedule(config, beats)]


def test_cycles_are_pinned():
    assert golden.schedule(CONFIGS[0], 6) == [3, 5]
    assert golden.schedule(CONFIGS[0], 1) == [0]


@pytest.mark.parametrize(("old", "new"), [
    ("final | self.o.p.last", "final"),
    ("(part == config.parts - 2)", "(part == config.parts - 1)"),
    ("Mux(ends_wide, 0, part + 1)", "part + 1"),
    ("Mux(self.o.p.last, 2, following + 1)", "following + 1"),
    ("first.eq(self.o.p.last)", "first.eq(0)"),
    ("(following == self.i_command.p.beats)", "(following + 1 == self.i_command.p.beats)"),
])
def test_a_planted_bug_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    config = CONFIGS[2]
    given = list(vectors(config))
    try:
        values, *_ = run(config, given, 0.5, build=mutant(Narrower, old, new))
    except AssertionError:
        return   # it hangs
    assert values != expected(config, given)
