# SPDX-License-Identifier: Apache-2.0
from functools import cache

import numpy as np
import pytest

from golden_model.batch_config import BatchGatherConfig
from golden_model.sparse.batch_gather import batch_gather, batch_gather_cycles
from golden_model.sparse.row_gather import beats, gather_cycles
from hw.sparse.batch_gather import BatchGather
from sim.simulator import Device, send
from tests.hw.sparse.weighted import exchange, packed
from tests.mutants import mutant

CONFIGS = [BatchGatherConfig(width=1, max_k=3, max_rows=9, in_flight=2, batch=2),
           BatchGatherConfig(width=5, max_k=20, max_rows=15, in_flight=4, batch=3),
           BatchGatherConfig(width=8, max_k=40, max_rows=12, packing="2bit", in_flight=16, batch=4)]
LATENCY = 6


def cases(config, seed):
    """Vectors, weights and who wants which row, for every pattern; one, two and many beats."""
    rng = np.random.default_rng(seed)
    shape = config.max_rows, config.batch
    index = np.arange(config.max_rows)[:, None]
    patterns = [np.ones(shape, bool), rng.random(shape) < 0.4, np.zeros(shape, bool),
                index % config.batch == np.arange(config.batch), rng.random(shape) < 0.1]
    for number, wanted in enumerate(patterns):
        tokens = 1 + number % config.batch if number > 2 else config.batch
        for k in sorted({config.width, 2 * config.width, config.max_k - number % 2}):
            yield (rng.integers(-8, 8, (tokens, k), dtype=np.int8),
                   rng.integers(-1, 2, (config.max_rows, k), dtype=np.int8), wanted[:, :tokens])
    # The corner that fixes the width of a sum.
    yield (np.full((config.batch, config.max_k), -8, np.int8),
           np.full((config.max_rows, config.max_k), -1, np.int8), patterns[0])


@cache
def device(config):
    return Device(BatchGather(config))


def run(config, vectors, weights, wanted, *, stall=0.0, dut=None):
    """Check sums and requests; return the cycles on ``i``, requests, weights and ``o``."""
    dut = dut or device(config)
    masks = (wanted << np.arange(len(vectors))).sum(axis=1).tolist()
    named = [*({"index": row, "tokens": mask, "end": 0} for row, mask in enumerate(masks)),
             {"index": 0, "tokens": 0, "end": 1}]
    rows = np.flatnonzero(masks).tolist()
    bursts = [[packed(config, beat) for beat in beats(config, weights[row])] for row in rows]
    words = [beat for vector in vectors for beat in beats(config, vector).tolist()]
    command = {"blocks": len(words) // len(vectors), "tokens": len(vectors)}
    expected = batch_gather(vectors, weights, wanted)
    start = len(words)

    async def load(ctx):
        ctx.set(dut.i_command.payload, command)
        await send(ctx, dut.i_vector, words)
        await send(ctx, dut.i_command, [command])

    asked, sums, logs = exchange(dut, load, named, bursts, len(expected) + 1, latency=LATENCY,
                                 start=start, stall=stall)
    assert asked == rows
    assert [None if p.end else (p.index, p.token, p.sum) for p in sums] == [*expected, None]
    return logs


def predicted(config, vectors, wanted):
    """Return what `run` returns, from the golden model."""
    blocks = -(-vectors.shape[1] // config.width)
    return (*batch_gather_cycles(config, [(wanted.sum(axis=1).tolist(), blocks)], LATENCY),)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_matches_golden_model_under_stalls(config):
    for case in list(cases(config, seed=1))[::4]:
        run(config, *case, stall=0.4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_values_and_cycles_match_golden_model(config):
    for vectors, weights, wanted in list(cases(config, seed=2))[::3]:
        assert run(config, vectors, weights, wanted) == predicted(config, vectors, wanted)


def test_one_token_takes_the_cycles_of_a_row_gather():
    config = BatchGatherConfig(width=5, max_k=20, max_rows=15, in_flight=4, batch=1)
    for rows, blocks in ((7, 1), (3, 4), (0, 2)):
        assert batch_gather_cycles(config, [([1] * rows, blocks)], LATENCY) == gather_cycles(
            config, [(rows, blocks)], LATENCY)
    vectors, weights, wanted = next(cases(config, 3))
    assert run(config, vectors, weights, wanted) == (*gather_cycles(config, [(15, 1)], LATENCY),)


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    config = BatchGatherConfig(width=64, max_k=128, max_rows=40, batch=2)
    cycles = batch_gather_cycles(config, [([2, 0, 1], 2)], 3)
    assert config.latency == 6
    assert cycles.rows == [0, 1, 2, 3]
    assert cycles.requests == [0, 2]
    assert cycles.weights == [3, 5, 7, 8]
    assert cycles.sums == [11, 12, 14, 15]


@pytest.mark.parametrize(("change", "message"), [
    ({"batch": 0}, "batch must be an integer of at least 1, not 0"),
    ({"batch": 5}, "batch must be at most 4, not 5"),
    ({"width": 1, "max_k": 1 << 19, "batch": 3},
     "batch must be at most 2 for 524288 words a token, not 3; lower batch or max_k"),
    ({"max_rows": 0}, "max_rows must be an integer of at least 1, not 0")])
def test_config_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        BatchGatherConfig(**change)


@pytest.mark.parametrize(("old", "new"), [
    ("totals[now.token].eq(total)", "totals[0].eq(total)"),
    ("present & ~head.end & served", "present & ~head.end"),
    ("loaded.token.eq(loaded.token + 1)", "loaded.token.eq(0)"),
    ("Mux(now.starts, 0, totals[now.token])", "totals[now.token]")])
def test_planted_bug_is_found(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 500)
    vectors, weights, wanted = list(cases(CONFIGS[1], seed=2))[2]
    with pytest.raises(AssertionError):
        run(CONFIGS[1], vectors, weights, wanted, dut=mutant(BatchGather, old, new)(CONFIGS[1]))
