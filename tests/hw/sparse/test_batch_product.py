# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.batch_config import BatchProductConfig
from golden_model.sparse.batch_product import BatchVectors, batch_cycles, batch_product
from golden_model.sparse.channel_union import channel_union
from golden_model.sparse.sparse_product import blocks, column_beats, sparse_cycles, sparse_product
from hw.sparse.batch_product import BatchProduct
from sim.simulator import Device, send
from tests.hw.adversarial import STALLS
from tests.hw.sparse.weighted import exchange, packed
from tests.mutants import mutant

CONFIGS = [BatchProductConfig(width=1, max_n=9, max_m=3, in_flight=2, batch=2),
           BatchProductConfig(width=5, max_n=40, max_m=20, in_flight=4, batch=3),
           BatchProductConfig(width=8, max_n=24, max_m=40, packing="2bit", in_flight=16, batch=4)]
LATENCY = 6


def patterns(config, seed):
    """Codes of every pattern of non-zeros, with a matrix each: one, two and many blocks."""
    rng = np.random.default_rng(seed)
    shape = config.batch, config.max_n
    own, index = rng.random(shape), np.arange(config.max_n)
    masks = [np.ones(shape), own < 0.3, own < 0.05, np.zeros(shape), own[:1] < 0.5,
             index % config.batch == np.arange(config.batch)[:, None],
             (index == config.max_n - 1) & (np.arange(config.batch)[:, None] == 0)]
    for number, mask in enumerate(masks):
        tokens = 1 + number % config.batch if number > 2 else config.batch
        for m in (config.width, config.max_m - number % 2):
            codes = rng.choice([-128, -127, -1, 1, 127], shape) * mask
            yield (codes[:tokens].astype(np.int8),
                   rng.integers(-1, 2, (m, config.max_n), dtype=np.int8))
    # The corner that fixes the width of a sum.
    yield np.full(shape, -128, np.int8), np.full((config.max_m, config.max_n), -1, np.int8)


def run(config, vectors, *, stall=0.0, keep_zeros=True, dut=None):
    """Check sums and requests; return the cycles on ``i``, requests, weights and ``o``."""
    dut = dut or BatchProduct(config)
    channels, columns, requests, wanted, commands = [], [], [], [], []
    for codes, weights in vectors:
        kept = channel_union(codes)[0].tolist()
        padded = np.pad(codes, ((0, config.batch - len(codes)), (0, 0))).T.tolist()
        channels += [{"index": index, "codes": padded[index], "end": 0}
                     for index in (range(codes.shape[1]) if keep_zeros else kept)]
        channels.append({"index": 0, "codes": [55] * config.batch, "end": 1})
        requests += kept
        columns += [[packed(config, beat) for beat in column_beats(config, weights[:, index])]
                    for index in kept]
        beats = batch_product(config, codes, weights).tolist()
        wanted += [(beat, n == len(beats) - 1) for n, beat in enumerate(beats)]
        commands.append({"blocks": blocks(config, len(weights)), "tokens": len(codes)})

    async def command(ctx):
        await send(ctx, dut.i_command, commands)

    asked, sums, logs = exchange(dut, command, channels, columns, len(wanted), latency=LATENCY,
                                 stall=stall)
    assert asked == requests
    assert [(list(p.sums), p.last) for p in sums] == wanted
    return logs


def predicted(config, vectors, *, keep_zeros):
    """Return what `run` returns, from the golden model."""
    return (*batch_cycles(config, [
        BatchVectors([n for n in np.count_nonzero(codes, axis=0).tolist() if n or keep_zeros],
                     len(codes), blocks(config, len(weights)))
        for codes, weights in vectors], LATENCY),)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.3, 0.7])
def test_matches_golden_model_under_stalls(config, stall):
    run(config, list(patterns(config, seed=1))[::1 + (stall > 0.5)], stall=stall)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("keep_zeros", [False, True], ids=["compacted", "zeros_come_too"])
def test_cycles_match_golden_model(config, keep_zeros):
    vectors = list(patterns(config, seed=2))
    assert run(config, vectors, keep_zeros=keep_zeros) == predicted(config, vectors,
                                                                    keep_zeros=keep_zeros)


def test_one_token_is_the_sparse_product():
    """Same sums, and the same cycle of every transfer."""
    config = BatchProductConfig(width=5, max_n=40, max_m=20, in_flight=4, batch=1)
    vectors = list(patterns(config, seed=3))
    assert run(config, vectors) == (*sparse_cycles(config, [
        (codes[0].astype(bool).tolist(), blocks(config, len(weights)))
        for codes, weights in vectors], LATENCY),)
    for codes, weights in vectors:
        assert (batch_product(config, codes, weights).tolist()
                == sparse_product(config, codes[0], weights).tolist())


@pytest.mark.parametrize("m", [64, 640])
def test_tokens_share_beats_and_none_waits_for_the_others(m):
    config = BatchProductConfig(width=64, max_n=400, max_m=640, in_flight=16, batch=4)
    rng = np.random.default_rng(5)
    codes = (rng.random((4, 400)) < 0.3).astype(np.int8)
    count, active = m // 64, np.count_nonzero(codes, axis=0)
    cycles = batch_cycles(config, [BatchVectors(active.tolist(), 4, count)], LATENCY)
    assert len(cycles.weights) == np.count_nonzero(active) * count
    zeros = np.count_nonzero(active == 0)
    assert cycles.sums[-1] <= (codes.sum() + 6) * count + zeros + LATENCY + 4


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    config = BatchProductConfig(width=8, max_n=40, max_m=24, in_flight=2, batch=2)
    cycles = batch_cycles(config, [BatchVectors([1, 0, 1, 2], 2, 1)], 3)
    assert cycles.channels == [0, 1, 2, 3, 6]
    assert cycles.requests == [0, 2, 3]
    assert cycles.weights == [3, 5, 6]
    assert cycles.sums == [9, 10]


@pytest.mark.parametrize(("change", "message"), [
    ({"batch": 0}, "batch must be an integer of at least 1, not 0"),
    ({"batch": 5}, "batch must be at most 4, not 5"),
    ({"width": 1, "max_m": 1 << 19, "batch": 3},
     "batch must be at most 2 for 524288 words a token, not 3; lower batch or max_m"),
    ({"width": 0}, "width must be an integer of at least 1, not 0")])
def test_config_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        BatchProductConfig(**change)


@pytest.mark.parametrize(("old", "new"), [
    ("adding_place.as_value() == here.as_value()", "adding_place.block == here.block"),
    ("code = head.codes[here.token]", "code = head.codes[0]"),
    ("first | head.last, every, head.active", "head.last, every, head.active"),
    ("first | head.last, every, head.active", "C(1), every, head.active"),
    ("present & ~head.empty & served", "present & ~head.empty")])
def test_planted_bug_is_found(monkeypatch, old, new):
    monkeypatch.setattr("sim.simulator.PATIENCE", 500)
    vectors = list(patterns(CONFIGS[1], seed=2))[:8]
    with pytest.raises(AssertionError):
        assert run(CONFIGS[1], vectors, dut=mutant(BatchProduct, old, new)(CONFIGS[1])) == (
            predicted(CONFIGS[1], vectors, keep_zeros=True))


DEVICE = Device(BatchProduct(CONFIGS[1]))


@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 20), st.integers(1, 3)),
                      min_size=1, max_size=3),
       share=st.sampled_from([0.1, 0.5, 1.0]), stall=STALLS, seed=st.integers(0, 99))
def test_any_vectors(sizes, share, stall, seed):
    config, rng, vectors = CONFIGS[1], np.random.default_rng(seed), []
    for n, m, tokens in sizes:
        codes = rng.integers(-128, 128, (tokens, n)) * (rng.random((tokens, n)) < share)
        vectors.append((codes.astype(np.int8), rng.integers(-1, 2, (m, n), dtype=np.int8)))
    logs = run(config, vectors, stall=stall, dut=DEVICE)
    assert stall or logs == predicted(config, vectors, keep_zeros=True)
