# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.sparse.histogram_select import select
from golden_model.sparse_config import SelectorConfig
from hw.sparse import histogram_select as unit
from hw.sparse.histogram_select import HistogramSelect
from sim.simulator import lane_mask, receive, send, simulate

CONFIGS = [SelectorConfig(lanes=1, max_n=5), SelectorConfig(lanes=2, max_n=64),
           SelectorConfig(lanes=4, max_n=200)]


def segments(max_n, seed):
    """Magnitudes and how many to keep: ties, corners, every kind of spread."""
    rng = np.random.default_rng(seed)
    for high in (1, 2, 17, 128, 129):
        magnitudes = rng.integers(0, high, rng.integers(1, max_n + 1))
        yield magnitudes, int(rng.integers(0, magnitudes.size + 1))
    full = rng.integers(0, 129, max_n)
    for keep in (0, 1, max_n - 1, max_n):
        yield full, keep
    yield np.full(max_n, 128), max_n // 2
    yield np.where(np.arange(max_n) % 2, 128, 5), 1
    yield np.where(np.arange(max_n) % 2, 128, 0), max_n - 1
    yield np.full(max_n, 0), max_n // 2 + 1
    yield np.repeat([16, 15], [max_n // 2, max_n - max_n // 2]), max_n // 2 + 1


def payloads(config, magnitudes, keep):
    padded = np.pad(magnitudes, (0, -magnitudes.size % config.lanes), constant_values=99)
    rows = padded.reshape(-1, config.lanes).tolist()
    present = lane_mask(np.ones(magnitudes.size), config.lanes)
    return [{"magnitudes": row, "present": mask, "keep": keep, "last": int(n == len(rows) - 1)}
            for n, (row, mask) in enumerate(zip(rows, present))]


def search(dut, config, cases, stall=(0.0, 0.0)):
    """Return the results, the cycle of each beat and of each result."""
    got, sent, received = [], [], []

    async def drive(ctx):
        rows = [payload for case in cases for payload in payloads(config, *case)]
        await send(ctx, dut.i, rows, stall=stall[0], log=sent)

    async def check(ctx):
        await receive(ctx, dut.o, len(cases), got, stall=stall[1], log=received)

    simulate(dut, drive, check)
    # Keeping nothing has more than one threshold: all that no magnitude exceeds.
    return [(128 if p.spare == -1 and p.threshold > 128 else p.threshold, p.spare)
            for p in got], sent, received


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [(0.0, 0.0), (0.4, 0.5)], ids=["full_rate", "stalled"])
def test_matches_golden_model(config, stall):
    cases = list(segments(config.max_n, seed=3))
    got, _, _ = search(HistogramSelect(config), config, cases, stall)
    assert got == [select(*case) for case in cases]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_latency(config):
    cases = list(segments(config.max_n, seed=4))[:2]
    _, sent, received = search(HistogramSelect(config), config, cases)
    beats = -(-cases[0][0].size // config.lanes)
    assert sent[0] == config.histogram_clear
    assert received[0] - sent[beats - 1] == config.histogram_latency
    assert sent[beats] == received[0] + 1 + config.histogram_clear


def test_more_than_there_are_keeps_all():
    config = SelectorConfig(lanes=2, max_n=64)
    (result,), _, _ = search(HistogramSelect(config), config, [(np.array([5, 0, 0]), 60)])
    threshold, spare = result
    assert threshold == 0
    assert spare >= 1


def test_latency_is_pinned():
    """Literals, because hardware and test both read the property and would drift together."""
    config = SelectorConfig(lanes=4, max_n=16_384)
    assert (config.histogram_latency, config.histogram_clear) == (31, 128)
    assert config.bit_serial_latency == 9


@pytest.mark.parametrize("change", [lambda depth, bits: (depth, bits - 1),
                                    lambda depth, bits: (min(depth, 64), bits)],
                         ids=["counts_that_overflow", "half_of_the_values"])
def test_a_smaller_histogram_is_noticed(monkeypatch, change):
    histogram = unit._Histogram
    monkeypatch.setattr(unit, "_Histogram", lambda *size: histogram(*change(*size)))
    config = CONFIGS[1]
    cases = [(np.full(config.max_n, 128), config.max_n // 2),
             # 46 and 110 differ in the top bit of their place alone.
             (np.resize([110, 46, 97], config.max_n), config.max_n // 3 + 5)]
    got, _, _ = search(HistogramSelect(config), config, cases)
    assert got != [select(*case) for case in cases]
