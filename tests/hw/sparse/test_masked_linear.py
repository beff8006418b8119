# SPDX-License-Identifier: Apache-2.0
from functools import cache

import numpy as np
import pytest
from amaranth import C
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.config import ModelShape, Numerics
from golden_model.quant.rms_norm import FixedNorm
from golden_model.sparse.compactor import beat_counts
from golden_model.sparse.masked_linear import MaskedVector, masked_codes
from golden_model.sparse.masked_linear_cycles import MaskedCycles, MaskedLinearCycles
from golden_model.sparse.sparse_product import sparse_cycles
from golden_model.sparse.top_k_cycles import top_k_cycles
from golden_model.sparse_config import MaskedLinearConfig
from golden_model.weights import random_weights
from hw.control.slack import Slack
from hw.sparse.masked_linear import MaskedLinear
from sim.masked_jobs import MaskedJob as Job
from sim.masked_jobs import MaskedLinearWithUnit
from sim.simulator import Device, fetch, receive, send, simulate
from tests.hw.adversarial import STALLS, rows, signed_words, small_reals
from tests.hw.quant.tokens import UNIT, small
from tests.hw.sparse.masked import captured, patterns
from tests.mutants import mutant

CONFIGS = [
    MaskedLinearConfig(lanes=4, max_n=43, max_m=40, width=8, in_flight=2, form="dsp"),
    MaskedLinearConfig(lanes=2, max_n=22, max_m=15, width=5, in_flight=8, block_size=4, queue=1,
                       form="dsp"),
    MaskedLinearConfig(lanes=1, max_n=9, max_m=3, width=1, packing="2bit", rows_per_stage=12,
                       form="dsp"),
]
LATENCY = 6


@cache
def device(config):
    return Device(MaskedLinearWithUnit(config))


def run(config, jobs, *, stall=0.0, dut=None):
    """Check requests, sums and scales; return the cycles of every stream."""
    dut = dut or device(config)
    columns = [job.columns(config) for job in jobs]
    indices = [index for kept, _ in columns for index in kept]
    bursts = [burst for _, beats in columns for burst in beats]
    results = [job.results(config) for job in jobs]
    wanted = [beat for beats, _ in results for beat in beats]
    asked, sums, scales, logs = [], [], [], [[] for _ in range(6)]

    async def command(ctx):
        await send(ctx, dut.i_command, [job.command(config) for job in jobs], log=logs[0])

    async def drive(ctx):
        await send(ctx, dut.i, [beat for job in jobs for beat in job.words(config)], stall=stall,
                   log=logs[1])

    async def request(ctx):
        await receive(ctx, dut.o_request, len(indices), asked, stall=stall, seed=3, log=logs[2])

    async def weigh(ctx):
        await fetch(ctx, dut.i_weights, logs[2], bursts, LATENCY, stall=stall, log=logs[3])

    async def check(ctx):
        await receive(ctx, dut.o, len(wanted), sums, stall=stall, seed=4, log=logs[4])

    async def scale(ctx):
        await receive(ctx, dut.o_scale, len(jobs), scales, stall=stall and 0.97, seed=5,
                      log=logs[5])

    simulate(dut, command, drive, request, weigh, check, scale)
    assert asked == indices
    assert [(list(beat.sums), beat.last) for beat in sums] == wanted
    assert [{"m": got.m, "e": got.e} for got in scales] == [scale for _, scale in results]
    return logs


def predicted(config, jobs):
    """Return what `run` returns, from the golden model."""
    model = MaskedLinearCycles(config, UNIT, LATENCY)
    vectors = [model.run(job.vector, len(job.weights)) for job in jobs]
    return [[vector.command for vector in vectors],
            *([cycle for vector in vectors for cycle in getattr(vector, name)]
              for name in ("words", "requests", "weights", "sums")),
            [vector.scale for vector in vectors]]


@pytest.mark.parametrize(("config", "part"), [(CONFIGS[0], 0), (CONFIGS[1], 1), (CONFIGS[2], 0)],
                         ids=str)
def test_matches_golden_model_under_stalls(config, part):
    run(config, list(patterns(config, seed=1))[part::7], stall=0.4)


@pytest.mark.parametrize(("config", "part"), [(CONFIGS[0], 1), (CONFIGS[1], 0), (CONFIGS[2], 1)],
                         ids=str)
def test_cycles_match_golden_model(config, part):
    jobs = list(patterns(config, seed=2))[part::4]
    assert run(config, jobs) == predicted(config, jobs)


def test_sums_of_a_model_are_those_of_the_decoder():
    shape = ModelShape(vocab=9, hidden=24, ffn=40, layers=1, heads=3, kv_heads=1, head_dim=8,
                       context=8)
    config = MaskedLinearConfig(lanes=4, max_n=40, max_m=24, width=8, form="dsp")
    jobs = []
    for job, sums, scale in captured(random_weights(shape, Numerics(), seed=3), Numerics(),
                                     [0, 4, 2]):
        beats, out_scale = job.results(config)
        assert np.concatenate([row for row, _ in beats])[:len(sums)].tolist() == sums.tolist()
        assert out_scale == small(scale)
        jobs.append(job)
    assert run(config, jobs) == predicted(config, jobs)


def test_words_that_come_late_are_taken_when_they_come():
    """The up rows' products of a feed-forward network come one now and then."""
    config, rng = CONFIGS[2], np.random.default_rng(8)
    job = Job(MaskedVector(rng.integers(-99, 99, 7), np.float64(1.0)), np.ones((2, 7), np.int8))
    arrivals = [5, 6, 40, 41, 90, 91, 92, 0, 0, 0, 200, 240, 240, 300]
    dut, taken, sums = device(config), [], []
    kept, bursts = job.columns(config)
    asked, requested = [], []

    async def drive(ctx):
        ctx.set(dut.o_scale.ready, 1)
        ctx.set(dut.i_command.payload, job.command(config))
        ctx.set(dut.i_command.valid, 1)
        words, beat = job.words(config), 0
        for cycle in range(400):
            offered = beat < len(words) and arrivals[beat] <= cycle
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, words[beat])
            *_, ready, accepted = await ctx.tick().sample(dut.i.ready, dut.i_command.ready)
            if accepted:
                ctx.set(dut.i_command.valid, 0)
            if offered and ready:
                taken.append(cycle)
                beat += 1

    async def request(ctx):
        await receive(ctx, dut.o_request, len(kept), asked, log=requested)

    async def weigh(ctx):
        await fetch(ctx, dut.i_weights, requested, bursts, LATENCY)

    async def check(ctx):
        await receive(ctx, dut.o, 2, sums)

    simulate(dut, drive, request, weigh, check)
    assert [(list(beat.sums), beat.last) for beat in sums] == job.results(config)[0]
    cycles = MaskedLinearCycles(config, UNIT, LATENCY).run(job.vector, 2, words=arrivals)
    assert (taken, requested) == (cycles.words, cycles.requests)


@pytest.mark.parametrize("keep", [None, (1, 2)])
def test_cycles_are_those_of_the_parts(keep):
    """Where the product never waits for a channel, its own model and the selection's agree."""
    config = MaskedLinearConfig(max_n=64, max_m=64, width=8, in_flight=2, queue=64)
    x = np.random.default_rng(5).permutation(np.arange(64)) * 1000 - 31_500
    vector = MaskedVector(x, np.float64(1.0), None, keep)
    cycles = MaskedLinearCycles(config, UNIT, LATENCY).run(vector, 64, command=99)
    kept = 64 if keep is None else 32
    alone = sparse_cycles(config.product, [([True] * kept, 8)], LATENCY)
    shift = cycles.requests[0]
    assert [cycle - shift for cycle in cycles.requests] == alone.requests
    assert [cycle - shift for cycle in cycles.weights] == alone.weights
    assert [cycle - shift for cycle in cycles.sums] == alone.sums
    # Codes come at one beat a cycle, through a register, `latency` cycles after their words.
    first = cycles.words[16] + config.quantiser.latency + 1
    assert cycles.words[16:] == list(range(cycles.words[16], cycles.words[16] + 16))
    codes, _ = masked_codes(vector)
    selected = top_k_cycles(config.top_k, beat_counts(config.compactor, codes, codes != 0))
    assert shift - first == (config.compactor.latency if keep is None else
                             selected.emitted[0] - selected.loaded[0])


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    config = MaskedLinearConfig(lanes=4, max_n=64, max_m=32, width=16)
    vector = MaskedVector(np.array([900, 0, 0, 0, -5, 77]), np.float64(1.0))
    model = MaskedLinearCycles(config, UNIT, 3)
    assert model.run(vector, 17) == MaskedCycles(
        3, [4, 5, 55, 56], [68, 69, 70], [71, 72, 73, 74, 75, 76], [78, 79], 125)
    second = model.run(vector._replace(keep=(1, 3)), 17)
    assert (second.command, second.requests, second.sums) == (130, [228, 229], [236, 237])


@pytest.mark.parametrize(("n", "m", "nnz"), [(2560, 2560, 1280), (6912, 2560, 3456)])
def test_one_vector_takes_its_products_and_little_more(n, m, nnz):
    """Beyond two passes over the words: at most 1.02 times the cycles of its products."""
    config = MaskedLinearConfig(max_n=n, max_m=m)
    x = np.zeros(n, np.int64)
    x[np.random.default_rng(6).permutation(n)[:nnz]] = 50_000
    cycles = MaskedLinearCycles(config, UNIT, 20).run(MaskedVector(x, np.float64(1.0)), m)
    assert cycles.sums[-1] - cycles.command < 2 * n // 4 + 1.02 * nnz * m // 16


def test_a_scale_without_its_last_bit_is_noticed(monkeypatch):
    scale = MaskedLinear.scale

    def forgetful(self, m, quantiser, alpha):
        return scale(self, m, quantiser, alpha.as_value() & C(0xFFFFFE))

    monkeypatch.setattr(MaskedLinear, "scale", forgetful)
    job = Job(MaskedVector(np.arange(5), np.float64(1.0)), np.ones((2, 5), np.int8), 35_791 / 2)
    with pytest.raises(AssertionError):
        run(CONFIGS[2], [job], dut=MaskedLinearWithUnit(CONFIGS[2]))


def test_a_selection_left_out_is_noticed(monkeypatch):
    mask = MaskedLinear.mask
    monkeypatch.setattr(MaskedLinear, "mask", lambda self, m, codes, channels, start, selecting:
                        mask(self, m, codes, channels, start, C(0)))
    monkeypatch.setattr("sim.simulator.PATIENCE", 500)
    job = Job(MaskedVector(np.arange(5), np.float64(1.0), None, (1, 2)), np.ones((2, 5), np.int8))
    with pytest.raises(AssertionError):
        run(CONFIGS[2], [job], dut=MaskedLinearWithUnit(CONFIGS[2]))


LONG = MaskedLinearConfig(lanes=1, max_n=60, max_m=40, width=8, in_flight=2, queue=1, form="dsp")
"""Longer vectors than the quantiser's pipeline: codes that wait stop the words."""


def test_words_wait_for_codes_as_the_golden_model_says():
    jobs = list(patterns(LONG, seed=2))[:4]
    assert run(LONG, jobs) == predicted(LONG, jobs)


@pytest.mark.parametrize(("old", "new"), [
    ("self.i.ready.eq(~waiting)", "self.i.ready.eq(self.o.ready)"),
    ("Mux(waiting, held, self.i.payload)", "self.i.payload")], ids=["none", "forgetful"])
def test_a_broken_slack_is_noticed(monkeypatch, old, new):
    monkeypatch.setattr("hw.sparse.masked_linear.Slack", mutant(Slack, old, new))
    jobs = list(patterns(LONG, seed=2))[:1]
    try:
        logs = run(LONG, jobs, dut=MaskedLinearWithUnit(LONG))
    except AssertionError:
        return
    assert logs != predicted(LONG, jobs)


@st.composite
def any_job(draw):
    n = draw(st.integers(1, 9))
    norm = FixedNorm(np.array(draw(rows(signed_words(12), n))),
                     np.float64(draw(small_reals(zero=False))), np.float64(draw(small_reals())))
    vector = MaskedVector(
        np.array(draw(rows(signed_words(24), n))), np.float64(draw(small_reals(zero=False))),
        draw(st.sampled_from([None, norm])),
        draw(st.sampled_from([None, (0, 1), (1, 2), (2, 3), (1, 1)])), 0,
        draw(st.sampled_from(["int8", "fp4"])))
    m = draw(st.integers(1, 15))
    return Job(vector, np.array(draw(rows(rows(st.integers(-1, 1), n), m)), np.int8),
               draw(small_reals()))


@settings(max_examples=8, deadline=None)
@given(jobs=st.lists(any_job(), min_size=1, max_size=2), stall=STALLS)
def test_any_vectors(jobs, stall):
    logs = run(CONFIGS[1], jobs, stall=stall)
    assert stall or logs == predicted(CONFIGS[1], jobs)


@pytest.mark.parametrize(("field", "value"), [
    ("lanes", 3), ("max_n", 0), ("max_m", 0), ("width", 1025), ("block_size", 4), ("queue", 0),
    ("in_flight", 257)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .* not {value}$"):
        MaskedLinearConfig(**{field: value})


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_codes_alone_leave_with_their_own_scale(config, stall):
    """Between two vectors that are multiplied."""
    first, alone, second = [job for job in patterns(config, 4) if job.vector.keep is None][:3]
    dut, got, scales, sums = device(config), [], [], []
    codes, scale = masked_codes(alone.vector)
    lanes = np.pad(codes, (0, -codes.size % config.lanes)).reshape(-1, config.lanes).tolist()
    bursts = [burst for job in (first, second) for burst in job.columns(config)[1]]
    results, asked = [job.results(config) for job in (first, second)], []

    async def command(ctx):
        await send(ctx, dut.i_command, [first.command(config),
                                        {**alone.command(config), "codes": 1},
                                        second.command(config)])

    async def drive(ctx):
        await send(ctx, dut.i, [beat for job in (first, alone, second)
                                for beat in job.words(config)], stall=stall)

    async def request(ctx):
        await receive(ctx, dut.o_request, len(bursts), [], log=asked)

    async def weigh(ctx):
        await fetch(ctx, dut.i_weights, asked, bursts, LATENCY)

    async def check(ctx):
        await receive(ctx, dut.o, sum(len(beats) for beats, _ in results), sums)

    async def read(ctx):
        await receive(ctx, dut.o_codes, len(lanes), got, stall=stall, seed=4)

    async def collect(ctx):
        await receive(ctx, dut.o_scale, 3, scales)

    simulate(dut, command, drive, request, weigh, check, read, collect)
    assert [(list(beat.codes), beat.last) for beat in got] == [
        (beat, int(n == len(lanes) - 1)) for n, beat in enumerate(lanes)]
    assert [(list(beat.sums), beat.last) for beat in sums] == [
        beat for beats, _ in results for beat in beats]
    assert [{"m": one.m, "e": one.e} for one in scales] == [
        results[0][1], small(scale), results[1][1]]
