# SPDX-License-Identifier: Apache-2.0
import dataclasses
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.presets import preset
from golden_model.sparse.sparse_product import (
    blocks,
    column_beats,
    sparse_cycles,
    sparse_product,
)
from golden_model.sparse_config import SparseProductConfig
from hw.sparse import sparse_product as unit
from hw.sparse.sparse_product import SparseProduct
from sim.simulator import Device, send
from tests.hw.adversarial import STALLS, signed_words
from tests.hw.sparse.test_compactor import deeper
from tests.hw.sparse.weighted import exchange, packed

CONFIGS = [SparseProductConfig(width=1, max_n=9, max_m=3, in_flight=2),
           SparseProductConfig(width=5, max_n=40, max_m=20, in_flight=4),
           SparseProductConfig(width=8, max_n=40, max_m=40, packing="2bit", in_flight=16)]
LATENCY = 6


def patterns(config, seed):
    """Vectors of every pattern of non-zeros, with a matrix each: one, two and many blocks."""
    rng = np.random.default_rng(seed)
    n = config.max_n
    index = np.arange(n)
    masks = {"dense": index >= 0, "one": index == n - 1, "none": index < 0,
             "uniform": rng.random(n) < 0.3, "alternating": index % 2 == 0,
             "clustered": index < n // 3}
    for number, mask in enumerate(masks.values()):
        for m in (config.width, 2 * config.width, config.max_m - number % 2):
            codes = rng.choice([-128, -127, -1, 1, 127], n) if number % 2 else rng.integers(
                -128, 128, n)
            yield (codes * mask).astype(np.int8), rng.integers(-1, 2, (m, n), dtype=np.int8)
    # The corner that fixes the width of a sum.
    yield np.full(n, -128, np.int8), np.full((config.max_m, n), -1, np.int8)


def run(config, vectors, *, stall=0.0, keep_zeros=True, latency=LATENCY, dut=None):
    """Check sums and requests; return the cycles on ``i``, requests, weights and ``o``."""
    dut = dut or SparseProduct(config)
    channels, columns, requests, wanted, commands = [], [], [], [], []
    for codes, weights in vectors:
        for index, code in enumerate(codes.tolist()):
            if code or keep_zeros:
                channels.append({"index": index, "code": code, "end": 0})
            if code:
                requests.append(index)
                columns.append([packed(config, beat)
                                for beat in column_beats(config, weights[:, index])])
        channels.append({"index": 0, "code": 55, "end": 1})
        beats = sparse_product(config, codes, weights).tolist()
        wanted += [(beat, n == len(beats) - 1) for n, beat in enumerate(beats)]
        commands.append({"blocks": blocks(config, weights.shape[0])})

    async def command(ctx):
        await send(ctx, dut.i_command, commands)

    asked, sums, logs = exchange(dut, command, channels, columns, len(wanted), latency=latency,
                                 stall=stall)
    assert asked == requests
    assert [(list(p.sums), p.last) for p in sums] == wanted
    return logs


def elements(codes, *, keep_zeros):
    return [bool(code) for code in codes if code or keep_zeros]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_matches_golden_model(config, stall):
    run(config, list(patterns(config, seed=1)), stall=stall, keep_zeros=stall > 0)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("keep_zeros", [False, True], ids=["compacted", "zeros_come_too"])
def test_cycles_match_golden_model(config, keep_zeros):
    vectors = list(patterns(config, seed=2))
    logs = run(config, vectors, keep_zeros=keep_zeros)
    assert logs == (*sparse_cycles(config, [
        (elements(codes, keep_zeros=keep_zeros), blocks(config, weights.shape[0]))
        for codes, weights in vectors], LATENCY),)


@pytest.mark.parametrize("keep_zeros", [False, True], ids=["compacted", "zeros_come_too"])
def test_without_zeros_each_channel_is_fetched(keep_zeros):
    config = dataclasses.replace(CONFIGS[1], zeros=False)
    vectors = list(patterns(config, seed=2))[:5]
    if keep_zeros:
        with pytest.raises(AssertionError):
            run(config, vectors, keep_zeros=True)
    else:
        run(config, vectors, keep_zeros=False, stall=0.4)
        test_cycles_match_golden_model(config, keep_zeros=False)


@pytest.mark.parametrize("m", [64, 128, 2560])
def test_any_pattern_takes_its_products_and_a_fixed_latency(m):
    config = SparseProductConfig(width=64, max_n=400, max_m=2560, in_flight=16)
    for codes, _ in patterns(config, seed=5):
        channels = elements(codes, keep_zeros=False)
        cycles = sparse_cycles(config, [(channels, blocks(config, m))], LATENCY)
        assert cycles.sums[-1] + 1 <= max(1, len(channels)) * m // 64 + LATENCY + 3


@pytest.mark.parametrize(("name", "m"), [("tiny", 128), ("ulx3s", 128), ("axi128", 2560)])
def test_the_widths_of_the_presets_divide_what_their_models_have(name, m):
    """So that no product is padded: the demo model's outputs, and those of 2B4T."""
    units = preset(name).units
    assert (m % units.down_width, units.max_hidden >= m) == (0, True)


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    config = SparseProductConfig(width=8, max_n=40, max_m=24, in_flight=2)
    cycles = sparse_cycles(config, [([True, False, True], 2), ([], 1)], 3)
    assert cycles.channels == [0, 1, 2, 3, 6]
    assert cycles.requests == [0, 2]
    assert cycles.weights == [3, 4, 5, 6]
    assert cycles.sums == [8, 9, 10]


@pytest.mark.parametrize(("field", "value"), [
    ("width", 0), ("width", 1025), ("max_n", 0), ("max_m", 1 << 21), ("in_flight", 257)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .* not {value}$"):
        SparseProductConfig(**{field: value})


def test_sums_hold_every_channel_at_its_largest():
    assert SparseProductConfig(max_n=16_384).sum_bits == 23
    assert SparseProductConfig(max_n=1).sum_bits == 9


@pytest.mark.parametrize(("name", "broken"), [
    ("_CODE_BITS", 7), ("fifo", SimpleNamespace(SyncFIFO=deeper))],
    ids=["codes_of_7_bits", "a_deeper_queue"])
def test_a_planted_bug_is_noticed(monkeypatch, name, broken):
    monkeypatch.setattr(unit, name, broken)
    with pytest.raises(AssertionError):
        test_cycles_match_golden_model(CONFIGS[1], keep_zeros=False)


@cache
def device(config):
    return Device(SparseProduct(config))


@settings(max_examples=15, deadline=None)
@given(data=st.data(), sizes=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)),
                                      min_size=1, max_size=3),
       stall=STALLS, seed=st.integers(0, 99), fill=st.sampled_from([None, -1, 1]))
def test_any_vectors(data, sizes, stall, seed, fill):
    config, vectors = CONFIGS[1], []
    for n, m in sizes:
        codes = data.draw(st.lists(signed_words(8), min_size=n, max_size=n))
        weights = np.random.default_rng(seed).integers(-1, 2, (m, n), dtype=np.int8)
        vectors.append((np.array(codes, np.int8),
                        weights if fill is None else np.full_like(weights, fill)))
    logs = run(config, vectors, stall=stall, dut=device(config))
    if not stall:
        assert logs == (*sparse_cycles(config, [
            (elements(codes, keep_zeros=True), blocks(config, weights.shape[0]))
            for codes, weights in vectors], LATENCY),)
