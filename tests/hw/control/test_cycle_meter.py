# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.control.cycle_meter import Cycle, kinds
from golden_model.image_config import ImagePortConfig
from hw.control.cycle_meter import COUNTS, CycleMeter
from sim.simulator import simulate
from tests.mutants import mutant

CONFIG = ImagePortConfig(beat_bits=8, count_bits=5)


def scene(seed=1, count=400):
    """Cycles of a port that gives what was asked for, now and then."""
    rng, owed, cycles = np.random.default_rng(seed), 0, []
    for _ in range(count):
        offered = owed > 0 and rng.random() < 0.7
        taken = bool(offered and rng.random() < 0.8)
        asked = int(rng.integers(1, 9)) if rng.random() < 0.1 else 0
        cycles.append(Cycle(rng.random() < 0.9, bool(taken and rng.random() < 0.8),
                            rng.random() < 0.4, asked, bool(offered), taken))
        owed += asked - taken
    return cycles


def run(cycles, build=CycleMeter):
    dut, got = build(CONFIG), []

    async def drive(ctx):
        for cycle in [*cycles, cycles[-1]]:
            for name in ("busy", "weights", "attending", "offered", "taken"):
                ctx.set(getattr(dut, name), int(getattr(cycle, name)))
            ctx.set(dut.asked, int(cycle.asked > 0))
            ctx.set(dut.beats, cycle.asked or 7)
            *_, counts = await ctx.tick().sample(dut.counts)
            names = [name for name in COUNTS.members if getattr(counts, name)]
            assert len(names) <= 1
            got.append(names[0] if names else None)
    simulate(dut, drive)
    assert got[0] is None
    return got[1:]   # told a cycle late


def test_matches_golden_model():
    cycles = scene()
    got = run(cycles)
    assert got == kinds(cycles)
    assert set(got) == {*COUNTS.members, None}


def test_golden_model_is_pinned():
    still = Cycle(True, False, True, 0, False, False)
    assert kinds([still._replace(asked=1), still, still._replace(offered=True, taken=True),
                  still, still._replace(attending=False), still._replace(busy=False)]) == [
        "stall_kv", "stall_weights", "stall_kv", "stall_kv", "stall_vector", None]


@pytest.mark.parametrize(("old", "new"), [
    ("Mux(asked, beats, 0)", "beats"),
    ("(owed != 0) & ~offered", "(owed != 0)"),
])
def test_planted_bugs_are_seen(old, new):
    cycles = scene()
    assert run(cycles, mutant(CycleMeter, old, new)) != kinds(cycles)
