# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.batch_config import ChannelUnionConfig
from golden_model.sparse.channel_union import channel_union, union_cycles
from hw.sparse.channel_union import ChannelUnion
from sim.simulator import receive, send, simulate
from tests.mutants import mutant

CONFIGS = [ChannelUnionConfig(batch=1, max_n=5), ChannelUnionConfig(batch=2, max_n=1),
           ChannelUnionConfig(batch=3, max_n=11), ChannelUnionConfig(batch=4, max_n=40)]


def batches(config, seed):
    """Vectors of every pattern, some batches with fewer tokens than there may be."""
    rng = np.random.default_rng(seed)
    for number, share in enumerate([0.0, 1.0, 0.5, 0.1, 0.9, 0.3]):
        tokens = config.batch if number < 3 else int(rng.integers(1, config.batch + 1))
        codes = rng.choice([-128, -1, 1, 127], (tokens, config.max_n))
        yield (codes * (rng.random(codes.shape) < share)).astype(np.int8)
    one = np.zeros((config.batch, config.max_n), np.int8)
    one[-1, -1] = one[0, 0] = 5
    yield one


def run(config, vectors, *, stall=0.0, component=ChannelUnion):
    """Check channels and codes; return the cycles on ``i`` and ``o``."""
    dut, channels, wanted, got, logs = component(config), [], [], [], ([], [])
    for codes in vectors:
        for vector in codes.tolist():
            channels += [{"index": n, "code": code, "end": 0}
                         for n, code in enumerate(vector) if code]
            channels.append({"index": 0, "code": 99, "end": 1})
        index, kept = channel_union(codes)
        padded = np.pad(kept, ((0, config.batch - len(kept)), (0, 0)))
        wanted += [*zip(index.tolist(), padded.T.tolist()), None]

    async def command(ctx):
        await send(ctx, dut.i_command, [{"tokens": len(codes)} for codes in vectors])

    async def drive(ctx):
        await send(ctx, dut.i, channels, stall=stall, log=logs[0])

    async def check(ctx):
        await receive(ctx, dut.o, len(wanted), got, stall=stall, log=logs[1])

    simulate(dut, command, drive, check)
    assert [None if p.end else (p.index, list(p.codes)) for p in got] == wanted
    return logs


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.3, 0.7])
def test_matches_golden_model_under_stalls(config, stall):
    run(config, list(batches(config, 1)), stall=stall)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_cycles_match_golden_model(config):
    vectors = list(batches(config, 2))
    assert run(config, vectors) == union_cycles(config, [
        (np.count_nonzero(codes, axis=1).tolist(), int(codes.any(axis=0).sum()))
        for codes in vectors])


def test_cycles_are_pinned():
    config = ChannelUnionConfig(batch=2, max_n=8)
    assert union_cycles(config, [([2, 1], 3), ([0], 0)]) == (
        [0, 1, 2, 3, 4, 10], [6, 7, 8, 9, 12])


@pytest.mark.parametrize(("change", "message"), [
    ({"batch": 0}, "batch must be an integer of at least 1, not 0"),
    ({"batch": 5}, "batch must be at most 4, not 5"),
    ({"max_n": 0}, "max_n must be an integer of at least 1, not 0"),
    ({"batch": 3, "max_n": 1 << 19},
     "batch must be at most 2 for 524288 words a token, not 3; lower batch or max_n")])
def test_config_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ChannelUnionConfig(**change)


@pytest.mark.parametrize(("old", "new"), [
    ("there & (head.index == index)", "there"),
    ("~some | (head.index < index)", "C(1)"),
    ("there.eq(place != length)", "there.eq(1)"),
    ("place + (taken & leave)", "place + taken")])
def test_planted_bug_is_found(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 500)
    with pytest.raises(AssertionError):
        run(CONFIGS[2], list(batches(CONFIGS[2], 1)), stall=0.5,
            component=mutant(ChannelUnion, old, new))
