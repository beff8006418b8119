# SPDX-License-Identifier: Apache-2.0
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.lib import fifo
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.sparse.compactor import beat_counts, emission_cycles, transfers
from golden_model.sparse_config import CompactorConfig
from hw.sparse import compactor as unit
from hw.sparse.compactor import Compactor
from sim.simulator import Device, beats, lane_mask, receive, send, simulate
from tests.hw.adversarial import STALLS, flags, signed_words
from tests.mutants import mutant

CONFIGS = [CompactorConfig(lanes=1, max_n=9, queue=1), CompactorConfig(lanes=2, max_n=64, queue=2),
           CompactorConfig(lanes=4, max_n=100), CompactorConfig(lanes=8, max_n=64, queue=1),
           CompactorConfig(lanes=4, max_n=100, drop_zeros=False),
           CompactorConfig(lanes=4, max_n=100, emit=2), CompactorConfig(lanes=8, max_n=61, emit=8)]


def vectors(config, seed):
    """Pairs of codes and kept flags: every density, corners, odd lengths."""
    rng = np.random.default_rng(seed)
    for n in (1, 2, 3, config.lanes, config.max_n - 1, config.max_n):
        for zeros in (0.0, 0.3, 0.73, 1.0):
            codes = rng.integers(-128, 128, n, dtype=np.int8)
            codes[rng.random(n) < zeros] = 0
            yield codes, rng.random(n) < rng.choice([0.5, 1.0])
    clustered = np.zeros(config.max_n, np.int8)
    clustered[-config.max_n // 3:] = -128
    yield clustered, np.ones(config.max_n, np.bool_)


def groups(config, codes, keep):
    rows = list(zip(beats(codes, config.lanes), lane_mask(keep, config.lanes)))
    return [{"codes": row, "keep": mask, "last": int(n == len(rows) - 1)}
            for n, (row, mask) in enumerate(rows)]


def pairs(config, payload):
    """Return what one transfer holds: nothing if it is the end marker."""
    if config.emit == 1:
        return [] if payload.end else [(payload.index, payload.code)]
    valid = [bool(payload.valid >> n & 1) for n in range(config.emit)]
    assert valid == sorted(valid, reverse=True)
    assert payload.end == (not any(valid))
    return [(channel.index, channel.code) for channel, there in zip(payload.channels, valid)
            if there]


def run(config, cases, stall=(0.0, 0.0), *, dut=None):
    """Return the elements of each transfer, those wanted, and the cycles on both sides."""
    dut = dut or Compactor(config)
    wanted = [elements for case in cases for elements in transfers(config, *case)]
    got, taken, emitted = [], [], []

    async def drive(ctx):
        for n, case in enumerate(cases):
            await send(ctx, dut.i, groups(config, *case), stall=stall[0], seed=n, log=taken)

    async def check(ctx):
        await receive(ctx, dut.o, len(wanted), got, stall=stall[1], log=emitted)

    simulate(dut, drive, check)
    return [pairs(config, p) for p in got], wanted, taken, emitted


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5)], ids=str)
def test_matches_golden_model(config, stall):
    got, wanted, _, _ = run(config, list(vectors(config, seed=1)), stall)
    assert got == wanted


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_cycles_match_golden_model(config):
    for codes, keep in vectors(config, seed=2):
        _, _, taken, emitted = run(config, [(codes, keep)], dut=device(config))
        assert (taken, emitted) == emission_cycles(config, beat_counts(config, codes, keep))


def test_dense_vector_has_no_bubbles():
    config = CompactorConfig(lanes=4, max_n=100)
    *_, emitted = run(config, [(np.ones(100, np.int8), np.ones(100, np.bool_))])
    assert emitted == list(range(1, 102))


def test_half_of_the_lanes_at_once_keep_up_with_whatever_is_kept():
    for lanes in (2, 4, 8, 16):
        config = CompactorConfig(lanes=lanes, emit=lanes // 2)
        taken, emitted = emission_cycles(config, [lanes] * 100)
        assert emitted == list(range(1, 202))
        assert taken[-1] <= 200


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    config = CompactorConfig(lanes=4, max_n=32, queue=2)
    counts = [4, 4, 0, 4, 1, 0, 0, 0]
    taken, emitted = emission_cycles(config, counts)
    assert taken == [0, 1, 5, 6, 9, 13, 14, 15]
    assert emitted == [*range(1, 14), 16]


def test_elements_that_are_sent_twice_are_noticed():
    config = CONFIGS[5]
    dut = mutant(Compactor, "rest = self.take(m, rest, head, channel, place)",
                 "rest = self.take(m, pending, head, channel, place)")(config)
    got, wanted, _, _ = run(config, [(np.arange(1, 5, dtype=np.int8), np.ones(4, np.bool_))] * 2,
                            dut=dut)
    assert got[0] != wanted[0]


def deeper(width, depth):
    """Build a queue that holds one more."""
    return fifo.SyncFIFO(width=width, depth=depth + 1)


def test_indices_that_go_on_from_the_vector_before_are_noticed(monkeypatch):
    monkeypatch.setattr(unit, "Mux", lambda _select, _zero, value: value)
    got, wanted, _, _ = run(CONFIGS[2], list(vectors(CONFIGS[2], seed=1)))
    assert got != wanted


def test_a_queue_of_another_depth_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "fifo", SimpleNamespace(SyncFIFO=deeper))
    config, ones = CONFIGS[1], np.ones(64, np.int8)
    _, _, *cycles = run(config, [(ones, ones == 1)])
    assert tuple(cycles) != emission_cycles(config, [2] * 32)


@cache
def device(config):
    return Device(Compactor(config))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
       stall=st.tuples(STALLS, STALLS))
def test_any_vectors(data, sizes, stall):
    cases = [(np.array(data.draw(st.lists(signed_words(8), min_size=n, max_size=n)), np.int8),
              np.array(data.draw(flags(n)))) for n in sizes]
    config = CONFIGS[2]
    got, wanted, taken, emitted = run(config, cases, stall, dut=device(config))
    assert got == wanted
    if stall == (0.0, 0.0) and len(cases) == 1:
        assert (taken, emitted) == emission_cycles(config, beat_counts(config, *cases[0]))
