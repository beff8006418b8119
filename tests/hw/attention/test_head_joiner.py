# SPDX-License-Identifier: Apache-2.0
from functools import cache
from unittest import mock

import numpy as np
import pytest
from amaranth import C
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import smallfloat
from golden_model.attention import attend
from golden_model.attention.head_joiner import JoinCycles, join_cycles, join_heads
from golden_model.config import ModelShape, Numerics
from golden_model.exact import ExactDecoder
from golden_model.head_joiner_config import HeadJoinerConfig
from golden_model.weights import random_weights
from hw.attention.head_joiner import HeadJoiner
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, rows, signed_words, small_reals
from tests.hw.quant.tokens import small

CONFIGS = [HeadJoinerConfig(lanes=4, max_n=64, max_heads=8, form="dsp"),
           HeadJoinerConfig(lanes=1, max_n=15, max_heads=5, sum_bits=20, rows_per_stage=9,
                            form="dsp")]


class Vector:
    """Sums [heads, n] and scales [heads], and what must come of them."""

    def __init__(self, sums, scales, shift, passes=2):
        self.sums, self.scales = np.asarray(sums), np.asarray(scales, np.float64)
        self.shift, self.passes = shift, passes

    def beats(self, config):
        rows = self.sums.reshape(-1, config.lanes)
        return [{"sums": row, "last": (n + 1) * config.lanes % self.sums.shape[1] == 0}
                for n, row in enumerate(rows.tolist())]

    def command(self, config):
        heads, n = self.sums.shape
        return {"heads": heads, "beats": n // config.lanes, "shift": self.shift,
                "passes": self.passes}

    def joined(self, config):
        words, scale = join_heads(self.sums, self.scales, self.shift)
        return words.reshape(-1, config.lanes).tolist() * self.passes, small(scale)


def vectors(config, seed):
    """Yield heads of every size of scales, zeros among them, and sums that saturate."""
    rng = np.random.default_rng(seed)
    most, peak = config.max_n // config.max_heads // config.lanes, 1 << config.sum_bits - 1
    for number, heads in enumerate([1, config.max_heads, 3, 2, config.max_heads, 4, 3]):
        n = config.lanes * max(1, most - number % 2)
        size = 1 << int(rng.integers(4, config.sum_bits))
        sums = rng.integers(-size // 2, size // 2, (heads, n))
        scales = smallfloat.join(rng.integers(1 << 15, 1 << 16, heads),
                                 rng.integers(-30 - number, -24, heads))
        yield Vector(sums, scales * (rng.random(heads) < 0.8), 16 + number % 3, 1 + number % 3)
    extreme = np.full((2, config.lanes), -peak)
    extreme[:, 0] = peak - 1
    yield Vector(extreme, [0.0, 0.0], 16)
    yield Vector(extreme, [smallfloat.LARGEST, smallfloat.SMALLEST], 16)
    yield Vector(extreme, [smallfloat.SMALLEST, 0.0], 0)
    yield Vector(extreme, [1.0, 2.0 ** -17], 63)
    yield Vector(extreme, [3.0, 0.75], 10)  # saturates


def ties():
    """Return sums half-way between two words on heads of exponents that differ."""
    odd = np.arange(-15, 17, 2)
    return Vector(np.stack([odd, 2 * odd]), [1.0, 0.5], 16)


@cache
def device(config):
    return Device(HeadJoiner(config))


def run(config, work, stall=0.0, dut=None):
    """Check words and scales; return the cycles of each vector."""
    dut, logs = dut or device(config), ([], [], [])
    wanted = [vector.joined(config) for vector in work]
    words = Recorder(dut.o, sum(len(rows) for rows, _ in wanted), stall=stall)
    scales = Recorder(dut.o_scale, len(work), stall=stall and 0.95, seed=8)
    simulate(dut, source(dut.i_command, [vector.command(config) for vector in work], stall=stall,
                         cycles=logs[0]),
             source(dut.i, [beat for vector in work for beat in vector.beats(config)], stall=stall,
                    seed=5, cycles=logs[1]),
             source(dut.i_scale, [small(scale) for vector in work for scale in vector.scales],
                    stall=stall, seed=6, cycles=logs[2]), words.run, scales.run)
    assert [list(row) for row in words.payloads] == [row for rows, _ in wanted for row in rows]
    assert [{"m": got.m, "e": got.e} for got in scales.payloads] == [scale for _, scale in wanted]
    streams = [iter(log) for log in (*logs, words.cycles, scales.cycles)]
    return [JoinCycles(next(streams[0]), [next(streams[1]) for _ in vector.beats(config)],
                       [next(streams[2]) for _ in vector.scales], [next(streams[3]) for _ in rows],
                       next(streams[4])) for vector, (rows, _) in zip(work, wanted, strict=True)]


def check(config, work, dut=None):
    work = list(work)
    assert run(config, work, dut=dut) == join_cycles(config, [
        (len(vector.scales), vector.sums.shape[1] // config.lanes, vector.passes)
        for vector in work])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_matches_golden_model_in_value_and_cycle(config):
    check(config, [*vectors(config, seed=1), *vectors(config, seed=2)])


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_matches_golden_model_under_stalls(config):
    run(config, list(vectors(config, seed=3)), stall=0.5)


def test_ties_go_to_even():
    work = ties()
    words, _ = join_heads(work.sums, work.scales, work.shift)
    half = [-8, -6, -6, -4, -4, -2, -2, 0, 0, 2, 2, 4, 4, 6, 6, 8]
    assert words.tolist() == half + half
    check(CONFIGS[0], [work])


def test_adder_rows_compute_the_same():
    config = HeadJoinerConfig(lanes=2, max_n=24, max_heads=3)
    check(config, list(vectors(config, seed=4))[:4])


@pytest.mark.parametrize("numerics", [Numerics(), Numerics(p_bits=12, bos_bits=8, kv_bits=4)],
                         ids=["default", "finer"])
def test_heads_of_a_model_are_joined_as_the_decoder_does(numerics):
    shape = ModelShape(vocab=9, hidden=24, ffn=12, layers=2, heads=4, kv_heads=2, head_dim=8,
                       context=8)
    join, seen = attend.__dict__["_join_heads"], []

    def noted(outputs, scale, places):
        seen.append((outputs[0, -1], scale[0, -1], places, *(part[0, -1] for part in join(
            outputs, scale, places))))
        return join(outputs, scale, places)

    with mock.patch.object(attend, "_join_heads", noted):
        ExactDecoder(random_weights(shape, numerics, seed=3)).forward([0, 4, 2])
    work = []
    for outputs, scale, places, words, common in seen:
        got = join_heads(outputs, scale, places)
        assert (got[0].tolist(), float(got[1])) == (words.tolist(), float(common))
        work.append(Vector(outputs, scale, places))
    check(CONFIGS[0], work)


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    config = HeadJoinerConfig(lanes=4, rows_per_stage=3)
    assert config.latency == 10
    assert join_cycles(config, [(2, 2, 2), (1, 1, 1)]) == [
        JoinCycles(0, [1, 2, 3, 4], [1, 2], list(range(12, 20)), 4),
        JoinCycles(12, [13], [13], [23], 15)]


def test_a_common_exponent_of_one_too_many_is_noticed(monkeypatch):
    place = HeadJoiner.place
    monkeypatch.setattr(HeadJoiner, "place", staticmethod(
        lambda top, shift: place(top, shift) + 1))
    with pytest.raises(AssertionError):
        check(CONFIGS[0], vectors(CONFIGS[0], seed=1), HeadJoiner(CONFIGS[0]))


def test_a_scale_of_the_last_head_alone_is_noticed(monkeypatch):
    place = HeadJoiner.place
    monkeypatch.setattr(HeadJoiner, "place", staticmethod(
        lambda top, shift: place(C(-30, 8), shift)))
    with pytest.raises(AssertionError):
        check(CONFIGS[0], vectors(CONFIGS[0], seed=1), HeadJoiner(CONFIGS[0]))


@st.composite
def any_vector(draw):
    heads = draw(st.integers(1, 4))
    sums = draw(rows(rows(signed_words(24), 8), heads))
    return Vector(sums, draw(rows(small_reals(), heads)), draw(st.integers(0, 63)),
                  draw(st.integers(1, 3)))


@settings(max_examples=30, deadline=None)
@given(work=st.lists(any_vector(), min_size=1, max_size=3), stall=STALLS)
def test_any_vectors(work, stall):
    if stall:
        run(CONFIGS[0], work, stall)
    else:
        check(CONFIGS[0], work)


@pytest.mark.parametrize(("field", "value"), [
    ("lanes", 0), ("max_n", 0), ("max_n", 65_537), ("max_heads", 0), ("sum_bits", 1),
    ("sum_bits", 33)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .* not {value}$|^{field} must lie"):
        HeadJoinerConfig(**{field: value})
