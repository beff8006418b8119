# SPDX-License-Identifier: Apache-2.0
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth import C
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.sparse.row_gather import beats, gather_cycles, row_gather
from golden_model.sparse_config import RowGatherConfig
from hw.mac.ternary_dot import TernaryDot
from hw.sparse import row_gather as unit
from hw.sparse.row_gather import RowGather
from sim.simulator import Device, send
from tests.hw.adversarial import STALLS, signed_words
from tests.hw.sparse.test_compactor import deeper
from tests.hw.sparse.weighted import exchange, packed

CONFIGS = [RowGatherConfig(width=1, max_k=3, max_rows=9, in_flight=2),
           RowGatherConfig(width=5, max_k=20, max_rows=40, in_flight=4),
           RowGatherConfig(width=8, max_k=40, max_rows=40, packing="2bit", in_flight=16)]
LATENCY = 6


def cases(config, seed):
    """One vector and its active rows for every pattern; one, two and many beats a row."""
    rng = np.random.default_rng(seed)
    index = np.arange(config.max_rows)
    active = [index >= 0, index == config.max_rows - 1, index < 0, rng.random(index.size) < 0.3,
              index % 2 == 0, index < config.max_rows // 3]
    for number, mask in enumerate(active):
        for k in {config.width, 2 * config.width, config.max_k - number % 2}:
            vector = rng.integers(-8, 8, k, dtype=np.int8)
            yield vector, rng.integers(-1, 2, (index.size, k), dtype=np.int8), np.flatnonzero(mask)
    # The corner that fixes the width of a sum.
    yield (np.full(config.max_k, -8, np.int8),
           np.full((config.max_rows, config.max_k), -1, np.int8), index[:3])


@cache
def device(config):
    return Device(RowGather(config))


def run(config, vector, weights, rows, *, stall=0.0):
    """Check sums and requests; return the cycles on ``i``, requests, weights and ``o``."""
    dut = device(config)
    named = [*({"index": row, "end": 0} for row in rows.tolist()), {"index": 0, "end": 1}]
    bursts = [[packed(config, beat) for beat in beats(config, weights[row])] for row in rows]
    vector_beats = beats(config, vector).tolist()
    start = len(vector_beats)

    async def load(ctx):
        ctx.set(dut.i_command.payload, {"blocks": start})
        await send(ctx, dut.i_vector, vector_beats)
        await send(ctx, dut.i_command, [{"blocks": start}])

    asked, sums, logs = exchange(dut, load, named, bursts, len(named), latency=LATENCY, start=start,
                                 stall=stall)
    assert asked == rows.tolist()
    wanted = zip(rows.tolist(), row_gather(vector, weights, rows).tolist())
    assert [None if p.end else (p.index, p.sum) for p in sums] == [*wanted, None]
    return logs


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_matches_golden_model_under_stalls(config):
    for case in list(cases(config, seed=1))[::4]:
        run(config, *case, stall=0.4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_values_and_cycles_match_golden_model(config):
    for vector, weights, rows in list(cases(config, seed=2))[::3]:
        logs = run(config, vector, weights, rows)
        assert logs == (*gather_cycles(config, [(rows.size, -(-vector.size // config.width))],
                                       LATENCY),)


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    config = RowGatherConfig(width=64, max_k=128, max_rows=40)
    assert config.latency == 6
    cycles = gather_cycles(config, [(2, 2), (0, 2)], 3)
    assert cycles.rows == [0, 1, 2, 3]
    assert cycles.weights == [3, 4, 5, 6]
    assert cycles.sums == [10, 12, 13, 14]


@pytest.mark.parametrize(("field", "value"), [
    ("max_k", 0), ("max_k", 1 << 21), ("max_rows", 0), ("max_rows", 1 << 21), ("in_flight", 257)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .* not {value}$"):
        RowGatherConfig(**{field: value})


class Forgetful(TernaryDot):
    """A negative weight of the last lane is one too large."""

    def terms(self):
        terms, carries = super().terms()
        return terms, [*carries[:-1], C(0, 1)]


@pytest.mark.parametrize(("name", "broken"), [
    ("TernaryDot", Forgetful), ("fifo", SimpleNamespace(SyncFIFO=deeper))],
    ids=["a_lost_carry", "a_deeper_queue"])
def test_a_planted_bug_is_noticed(monkeypatch, name, broken):
    monkeypatch.setattr(unit, name, broken)
    monkeypatch.setitem(globals(), "device", lambda config: Device(RowGather(config)))
    with pytest.raises(AssertionError):
        test_values_and_cycles_match_golden_model(CONFIGS[1])


@settings(max_examples=25, deadline=None)
@given(data=st.data(), k=st.integers(1, 20), stall=STALLS, seed=st.integers(0, 99),
       fill=st.sampled_from([None, -1, 1]))
def test_any_rows(data, k, stall, seed, fill):
    config = CONFIGS[1]
    vector = np.array(data.draw(st.lists(signed_words(4), min_size=k, max_size=k)), np.int8)
    rows = data.draw(st.lists(st.integers(0, config.max_rows - 1), max_size=12))
    weights = np.random.default_rng(seed).integers(-1, 2, (config.max_rows, k), dtype=np.int8)
    weights = weights if fill is None else np.full_like(weights, fill)
    logs = run(config, vector, weights, np.array(rows, int), stall=stall)
    if not stall:
        assert logs == (*gather_cycles(config, [(len(rows), -(-k // config.width))], LATENCY),)
