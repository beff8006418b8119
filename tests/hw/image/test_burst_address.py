# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.image import burst_address as golden
from golden_model.image_config import BurstAddressConfig, ImagePortConfig
from hw.image.burst_address import BurstAddress
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIG = BurstAddressConfig(port=ImagePortConfig(beat_bits=8, address_bits=18, count_bits=9),
                            max_index=700)
INDICES = [0, 699, 1, *np.random.default_rng(1).integers(0, 700, 20).tolist()]


def run(base, beats, stall=0.0, build=BurstAddress):
    dut, got, taken, cycles = build(CONFIG), [], [], []

    async def source(ctx):
        ctx.set(dut.base, base)
        ctx.set(dut.beats, beats)
        await send(ctx, dut.i, INDICES, stall=stall, log=taken)

    async def sink(ctx):
        await receive(ctx, dut.o, len(INDICES), got, stall=stall, log=cycles)
    simulate(dut, source, sink)
    return [(one.address, one.beats) for one in got], taken, cycles


@pytest.mark.parametrize(("base", "beats"), [(0, 1), (1000, 7), (262_143, 511)])
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(base, beats, stall):
    got, taken, cycles = run(base, beats, stall)
    assert got == [golden.burst(CONFIG, base, beats, index) for index in INDICES]
    if not stall:
        assert taken == list(range(len(INDICES)))
        assert cycles == [cycle + CONFIG.latency for cycle in taken]


def test_bursts_are_pinned():
    assert golden.burst(CONFIG, 1000, 7, 3) == (1021, 7)
    assert golden.burst(CONFIG, 262_143, 511, 2) == (1021, 511)


@pytest.mark.parametrize(("old", "new"), [
    ("self.i.payload * self.beats", "self.i.payload + self.beats"),
    ("valid.eq(self.i.valid)", "valid.eq(1)"),
])
def test_a_planted_bug_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    try:
        got, *_ = run(1000, 7, 0.5, build=mutant(BurstAddress, old, new))
    except AssertionError:
        return   # bursts that nobody asked for keep the stream waiting
    assert got != [golden.burst(CONFIG, 1000, 7, index) for index in INDICES]
