# SPDX-License-Identifier: Apache-2.0
import random

import pytest

from golden_model.bus.watchdog import Watchdog as Model
from golden_model.bus_config import WatchdogConfig
from hw.bus.watchdog import Watchdog
from tests.hw.bus.harness import simulate
from tests.mutants import mutant

CONFIG = WatchdogConfig()


def run(dut, cycles):
    """Compare in every cycle; returns how often each output pulsed."""
    model = Model(dut.config)
    pulses = [0, 0]

    async def bench(ctx):
        for limit, busy, progress, draining in cycles:
            ctx.set(dut.limit, limit)
            ctx.set(dut.busy, busy)
            ctx.set(dut.progress, progress)
            ctx.set(dut.draining, draining)
            got = ctx.get(dut.expired), ctx.get(dut.abandon)
            assert got == model.pulses
            for number in range(2):
                pulses[number] += got[number]
            model.step(limit, busy=busy, progress=progress, draining=draining)
            await ctx.tick()

    simulate(dut, bench)
    return pulses


def random_cycles(seed):
    rng = random.Random(seed)
    limit, cycles = 0, []
    for _ in range(2000):
        if rng.random() < 0.02:
            limit = rng.choice((0, 1, 2, 3, 7))
        cycles.append((limit, rng.random() < 0.9, rng.random() < 0.2, rng.random() < 0.3))
    return cycles


@pytest.mark.parametrize("bits", [3, 32])
def test_every_cycle(bits):
    assert min(run(Watchdog(WatchdogConfig(limit_bits=bits)), random_cycles(1))) > 20


def test_it_acts_after_as_many_cycles_as_its_limit():
    idle, stuck = (5, False, False, False), (5, True, False, False)
    assert run(Watchdog(CONFIG), [idle, *5 * [stuck]]) == [0, 0]
    assert run(Watchdog(CONFIG), [idle, *5 * [stuck], idle]) == [1, 0]
    assert run(Watchdog(CONFIG), [idle, *4 * [stuck], idle, *4 * [stuck], idle, idle]) == [0, 0]
    assert run(Watchdog(CONFIG), [idle, *5 * [stuck], *16 * [(5, True, False, True)]]) == [1, 3]


def test_a_limit_of_zero_is_off():
    assert run(Watchdog(CONFIG), 50 * [(0, True, False, False)]) == [0, 0]


@pytest.mark.parametrize(("old", "new"), [
    ("left <= 1", "left == 0"), ("& ~self.progress", ""), ("hit & self.draining", "hit"),
    ("stalled & ~hit, left", "stalled, left")])
def test_a_planted_bug_is_seen(old, new):
    with pytest.raises(AssertionError):
        run(mutant(Watchdog, old, new)(CONFIG), random_cycles(2))


@pytest.mark.parametrize("bits", [0, 33])
def test_config_refuses(bits):
    with pytest.raises(ValueError, match=f"^limit_bits must lie in 1..32, not {bits}$"):
        WatchdogConfig(limit_bits=bits)
