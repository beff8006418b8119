# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.formats import pack_three_trits, unpack_base3
from golden_model.head import plane_sum as golden
from golden_model.head_config import PlaneSumConfig
from hw.head.plane_sum import PlaneSum
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIGS = [PlaneSumConfig(rows=1, max_vocab=9), PlaneSumConfig(rows=2),
           PlaneSumConfig(rows=3, sum_bits=5, max_vocab=30), PlaneSumConfig(rows=8)]


def vocabularies(config, seed=1):
    """Beats of sums [blocks * 3, rows] and the number of logits in them."""
    rng = np.random.default_rng(seed)
    peak = 1 << config.sum_bits - 1
    for vocab in (1, 2, config.rows, config.rows + 1, 9):
        blocks = -(-vocab // config.rows)
        beats = rng.integers(-peak, peak, (3 * blocks, config.rows))
        if vocab == 2:
            beats[:] = rng.choice([-peak, peak - 1], beats.shape)
        yield beats, vocab


def run(config, given, stall=0.0, build=PlaneSum):
    """Logits, the end markers, and the cycles of beats and logits."""
    dut, out, taken, cycles = build(config), [], [], []
    total = sum(vocab for _, vocab in given)

    async def commands(ctx):
        await send(ctx, dut.i_command, [{"vocab": vocab} for _, vocab in given], stall=stall)

    async def source(ctx):
        await send(ctx, dut.i, [beat for beats, _ in given for beat in beats.tolist()],
                   stall=stall, log=taken)

    async def sink(ctx):
        await receive(ctx, dut.o, total, out, stall=stall, log=cycles)
    simulate(dut, commands, source, sink)
    return [one.logit for one in out], [n for n, one in enumerate(out) if one.last], taken, cycles


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    given = list(vocabularies(config))
    logits, ends, *_ = run(config, given, stall)
    assert logits == [value for beats, vocab in given
                      for value in golden.plane_sums(beats, vocab).tolist()]
    assert ends == (np.cumsum([vocab for _, vocab in given]) - 1).tolist()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_takes_the_cycles_of_the_golden_model(config):
    for beats, vocab in vocabularies(config):
        _, _, *cycles = run(config, [(beats, vocab)])
        assert tuple(cycles) == golden.schedule(config, range(len(beats)), vocab)


def test_cycles_are_pinned():
    assert golden.schedule(PlaneSumConfig(rows=2), range(6), 3) == (
        [0, 1, 2, 4, 5, 6], [4, 5, 8])
    assert golden.schedule(PlaneSumConfig(rows=8), range(6), 9) == (
        [0, 1, 2, 4, 5, 6], [*range(4, 12), 12])


def test_planes_are_those_of_the_packing():
    codes = np.arange(-13, 14)
    packed = pack_three_trits(codes).reshape(3, -1)
    planes = np.array([unpack_base3(plane, codes.size) for plane in packed], dtype=np.int64)
    activation = 127
    beats = (planes * activation)[::-1]
    assert golden.plane_sums(beats, codes.size).tolist() == (codes * activation).tolist()


@pytest.mark.parametrize(("old", "new"), [
    ("(carried << 1) + carried", "(carried << 2)"),
    ("plane == 0, 0, total", "plane == 3, 0, total"),
    ("[waiting.eq(0), sent.eq(0)]", "sent.eq(0)"),
    ("(waiting == 0) | accepted", "(waiting != 0) | accepted"),
])
def test_a_planted_bug_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    config = PlaneSumConfig(rows=3, sum_bits=5, max_vocab=30)
    given = list(vocabularies(config))
    right = [value for beats, vocab in given for value in golden.plane_sums(beats, vocab).tolist()]
    try:
        logits, *_ = run(config, given, build=mutant(PlaneSum, old, new))
    except AssertionError:
        return   # it hangs
    assert logits != right
