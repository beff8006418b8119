# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from amaranth import C
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.sparse.compactor import beat_counts, transfers
from golden_model.sparse.top_k import kept_count, top_k_mask
from golden_model.sparse.top_k_cycles import top_k_cycles
from golden_model.sparse_config import TopKConfig
from hw.sparse import top_k as unit
from hw.sparse.top_k import TopK
from sim.simulator import Device, beats, lane_mask, receive, send, simulate
from tests.hw.adversarial import STALLS as SHARES
from tests.hw.adversarial import signed_words
from tests.hw.sparse.test_compactor import pairs

CONFIGS = [TopKConfig(lanes=1, max_n=9, block_size=2), TopKConfig(lanes=2, max_n=30, block_size=4),
           TopKConfig(lanes=4, max_n=101), TopKConfig(lanes=8, max_n=60, block_size=0),
           TopKConfig(lanes=4, max_n=101, emit=2)]


STALLS = [(0.3, 0.5, 0.5), (0.0, 0.8, 0.0), (0.0, 0.0, 0.0)]
START = 128
"""Cycle of the first command: the histograms are clear after reset."""


class Case:
    """One vector with its command, and what must come of it; `keep` is a share as two integers."""

    def __init__(self, config, codes, keep, *, blocks=False, drop_zeros=False, mask_only=False):
        codes = np.asarray(codes, np.int8)
        size = config.block_size if blocks else codes.size
        tail = (codes.size - 1) % size + 1
        self.blocks, self.mask_only = blocks, mask_only
        self.command = {"count": codes.size, "keep": kept_count(tail, keep), "blocks": int(blocks),
                        "block_keep": kept_count(size, keep) if blocks else 0,
                        "drop_zeros": int(drop_zeros), "mask_only": int(mask_only)}
        self.beats = beats(codes, config.lanes)
        mask = top_k_mask(np.abs(codes.astype(np.int64)), keep, size if blocks else 0)
        self.masks = lane_mask(mask, config.lanes)
        compactor = replace(config.compactor, drop_zeros=drop_zeros)
        self.elements = [] if mask_only else transfers(compactor, codes, mask)
        self.counts = beat_counts(compactor, codes, mask)

    def cycles(self, config):
        return top_k_cycles(config, self.counts, blocks=self.blocks, mask_only=self.mask_only)


def cases(config, seed):
    """Corner vectors and ties everywhere, K from 0 to n, all switches."""
    rng = np.random.default_rng(seed)
    n = config.max_n
    vectors = [rng.integers(-128, 128, n), rng.integers(-2, 3, n - 1), np.full(n, -128),
               np.zeros(n), np.where(np.arange(n) % 2, 127, -127), rng.integers(-128, 128, 1),
               np.arange(n)[::-1] % 128, rng.integers(-128, 128, n) * (rng.random(n) < 0.3)]
    for codes in vectors:
        switches = [{}, {"drop_zeros": True}, {"mask_only": True}]
        for k in (0, 1, codes.size // 2, codes.size - 1, codes.size):
            yield Case(config, codes, (k, codes.size), **switches[int(rng.integers(3))])
        if config.block_size:
            for keep in ((0, 1), (1, 2), (3, 5), (1, 1)):
                yield Case(config, codes, keep, blocks=True, **switches[int(rng.integers(3))])


def run(config, vectors, stall=(0.0, 0.0, 0.0), *, dut=None):
    """Check masks and elements; return the cycles on ``i_command``, ``i``, ``o_mask``, ``o``."""
    dut = dut or TopK(config)
    wanted = [element for case in vectors for element in case.elements]
    mask_count = sum(len(case.masks) for case in vectors)
    masks, got, logs = [], [], ([], [], [], [])

    async def command(ctx):
        await ctx.tick().repeat(START)
        await send(ctx, dut.i_command, [case.command for case in vectors], log=logs[0])

    async def drive(ctx):
        rows = [row for case in vectors for row in case.beats]
        await send(ctx, dut.i, rows, stall=stall[0], log=logs[1])

    async def check_mask(ctx):
        await receive(ctx, dut.o_mask, mask_count, masks, stall=stall[1], seed=5, log=logs[2])

    async def check(ctx):
        await receive(ctx, dut.o, len(wanted), got, stall=stall[2], log=logs[3])

    simulate(dut, command, drive, check_mask, check)
    expected = [{"keep": mask, "last": int(n == len(case.masks) - 1)}
                for case in vectors for n, mask in enumerate(case.masks)]
    assert [{"keep": p.keep, "last": p.last} for p in masks] == expected
    assert [pairs(config, p) for p in got] == wanted
    return logs


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", STALLS, ids=str)
def test_matches_golden_model(config, stall):
    part = STALLS.index(stall)
    run(config, list(cases(config, seed=6))[part::6], stall)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_cycles_match_golden_model(config):
    for case in list(cases(config, seed=7))[::13]:
        _, *cycles = run(config, [case], dut=device(config))
        # The command goes out once the testbench has waited.
        assert [[c - START for c in log] for log in cycles] == [*case.cycles(config)[:3]]


def test_bounds_of_the_largest_vector():
    """Beyond loading: below 3 n / P + 64 for half of the elements; the mask alone takes n / P."""
    config = TopKConfig()
    beats_of_half = [2] * 4096
    half = top_k_cycles(config, beats_of_half)
    assert half.emitted[-1] - half.loaded[-1] == 31 + 2 + 2 * 4096
    dense = top_k_cycles(config, [4] * 4096, mask_only=True)
    assert dense.masked[-1] - dense.loaded[-1] == 31 + 4096
    blocks = top_k_cycles(config, beats_of_half, blocks=True)
    assert blocks.loaded[-1] == 16 * 512 - 8
    assert blocks.emitted[-1] - blocks.loaded[-1] == 27


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("n", [1, 37, 16_384])
def test_any_selection_is_done_in_the_bound_with_half_of_the_lanes_at_once(lanes, n):
    """``3 n / P + 64`` beyond loading, whatever K is and wherever the kept elements are."""
    config = TopKConfig(lanes=lanes, emit=max(1, lanes // 2))
    beats = -(-n // lanes)
    rng = np.random.default_rng(n)
    even = np.arange(n) % lanes * beats + np.arange(n) // lanes
    for k in {0, 1, n // 2, n - 1, n}:
        for order in (np.arange(n), np.arange(n)[::-1], even, rng.permutation(n)):
            keep = np.zeros(beats * lanes, bool)
            keep[:n][order.argsort(kind="stable") < k] = True
            cycles = top_k_cycles(config, keep.reshape(beats, lanes).sum(axis=1).tolist())
            assert max(cycles.emitted[-1], cycles.masked[-1]) - cycles.loaded[-1] \
                <= min(3 * n / lanes, 2 * beats) + 64


def test_a_pass_through_keeps_the_longest_vector_within_its_emission():
    config = TopKConfig()
    cycles = top_k_cycles(config, [4] * 4096)
    assert cycles.emitted[-1] - cycles.loaded[-1] == 31 + 2 + 4 * 4096


@pytest.mark.parametrize(("field", "value"), [
    ("lanes", 3), ("max_n", 0), ("max_n", 1 << 21), ("queue", 0), ("queue", 65),
    ("block_size", 4), ("block_size", 48), ("block_size", 512)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .* not {value}$"):
        TopKConfig(**{field: value})


def test_a_magnitude_without_its_top_bit_is_noticed(monkeypatch):
    magnitude = unit.magnitude
    monkeypatch.setattr(unit, "magnitude", lambda code: magnitude(code)[:7])
    with pytest.raises(AssertionError):
        run(CONFIGS[2], [Case(CONFIGS[2], [5, -128, 127, 3], (1, 4))])


def test_ties_that_are_not_counted_down_are_noticed(monkeypatch):
    compare = TopK.compare

    def forgetful(*arguments):
        return compare(*arguments[:-1], C(0, 1))

    monkeypatch.setattr(TopK, "compare", staticmethod(forgetful))
    with pytest.raises(AssertionError):
        run(CONFIGS[2], [Case(CONFIGS[2], np.full(40, 5), (1, 2))])


@cache
def device(config):
    return Device(TopK(config))


CODES = st.one_of(signed_words(8), st.sampled_from([-128, 127, 0]), st.integers(-1, 1))


@settings(max_examples=20, deadline=None)
@given(data=st.data(), codes=st.lists(CODES, min_size=1, max_size=101), blocks=st.booleans(),
       switch=st.sampled_from([{}, {"drop_zeros": True}, {"mask_only": True}]),
       stall=st.tuples(SHARES, SHARES, SHARES))
def test_any_vector(data, codes, blocks, switch, stall):
    config = CONFIGS[2]
    most = config.block_size if blocks else len(codes)
    keep = data.draw(st.one_of(st.sampled_from([0, 1, most - 1, most]), st.integers(0, most)))
    case = Case(config, codes, (keep, most), blocks=blocks, **switch)
    _, *logs = run(config, [case], stall, dut=device(config))
    if stall == (0.0, 0.0, 0.0):
        assert [[c - START for c in log] for log in logs] == [*case.cycles(config)[:3]]
