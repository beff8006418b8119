# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import C, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.config import TernaryDotConfig
from golden_model.mac.ternary_dot import ternary_dot
from hw.mac.ternary_dot import TernaryDot
from sim.simulator import run_cycles, simulate

CONFIGS = [TernaryDotConfig(lanes=n, digit_bits=bits, levels_per_stage=k)
           for n, bits, k in (
               (1, 4, 1), (2, 4, 1), (2, 2, 3), (3, 5, 1), (3, 4, 2), (5, 2, 2), (7, 4, 3),
               (16, 5, 2), (23, 8, 2), (64, 4, 1), (64, 5, 2), (65, 4, 2))]


def vectors(config, count, seed):
    """Corners first: each sign at each end of the range, then random ones with the spare code."""
    rng = np.random.default_rng(seed)
    low, high = config.digit_range.start, config.digit_range.stop - 1
    w = rng.integers(-2, 2, (count, config.lanes))
    x = rng.integers(low, high + 1, (count, config.lanes))
    corners = [(-1, low), (1, low), (-1, high), (1, high), (-2, high), (0, low)]
    for n, (weight, digit) in enumerate(corners):
        w[n], x[n] = weight, digit
    return w, x


def check_dot(config, component=TernaryDot, stall=0.0, count=40):
    """Values, order, and every cycle of both handshakes, against the model."""
    dut = component(config)
    w, x = vectors(config, count, seed=1)
    pipeline = [False] * config.latency

    def check(seen):
        (i_valid, i_ready), (o_valid, o_ready) = seen["i"], seen["o"]
        assert o_valid == pipeline[-1]
        assert i_ready == (o_ready or not o_valid)
        if i_ready:
            pipeline[:] = [bool(i_valid), *pipeline[:-1]]

    beats = [{"w": a, "x": b} for a, b in zip(w.tolist(), x.tolist())]
    taken = run_cycles(dut, {"i": beats}, {"o": count}, stall=stall, check=check,
                       rng=np.random.default_rng(2))
    assert [payload for _, payload in taken["o"]] == ternary_dot(config, w, x).tolist()


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_matches_golden_model_in_value_and_cycle(config, stall):
    check_dot(config, stall=stall)


@pytest.mark.parametrize(("lanes", "levels_per_stage", "latency"), [
    (1, 1, 1), (2, 1, 1), (3, 1, 2), (64, 1, 6), (64, 2, 3), (64, 6, 1), (65, 2, 4)])
def test_latency_is_pinned(lanes, levels_per_stage, latency):
    """Literals, because hardware and test both read ``config.latency`` and would drift together."""
    config = TernaryDotConfig(lanes=lanes, levels_per_stage=levels_per_stage)
    beat = {"w": [0] * lanes, "x": [0] * lanes}
    (cycle, _), = run_cycles(TernaryDot(config), {"i": [beat]}, {"o": 1})["o"]
    assert cycle == config.latency == latency


def test_spare_code_acts_as_zero():
    dut = TernaryDot(TernaryDotConfig(lanes=3))
    beats = [{"w": [-2, 1, -2], "x": [7, -8, 3]}, {"w": [-2] * 3, "x": [-8] * 3}]
    assert [sum_ for _, sum_ in run_cycles(dut, {"i": beats}, {"o": 2})["o"]] == [-8, 0]


@settings(max_examples=25, deadline=None)
@given(data=st.data(), lanes=st.integers(1, 12), bits=st.integers(2, 6), levels=st.integers(1, 3))
def test_any_geometry_and_vector(data, lanes, bits, levels):
    config = TernaryDotConfig(lanes=lanes, digit_bits=bits, levels_per_stage=levels)
    digits = st.integers(config.digit_range.start, config.digit_range.stop - 1)
    vector = st.tuples(*[st.tuples(st.integers(-2, 1), digits)] * lanes)
    pairs = data.draw(st.lists(vector, min_size=1, max_size=6))
    w, x = np.array(pairs).transpose(2, 0, 1)
    beats = [{"w": a, "x": b} for a, b in zip(w.tolist(), x.tolist())]
    taken = run_cycles(TernaryDot(config), {"i": beats}, {"o": len(beats)})
    assert [payload for _, payload in taken["o"]] == ternary_dot(config, w, x).tolist()


def test_result_is_held_until_it_is_accepted():
    dut = TernaryDot(TernaryDotConfig(lanes=2))

    async def testbench(ctx):
        ctx.set(dut.i.payload, {"w": [1, -1], "x": [3, -4]})
        ctx.set(dut.i.valid, 1)
        await ctx.tick()
        ctx.set(dut.i.payload, {"w": [1, 1], "x": [1, 1]})
        for _ in range(5):
            assert (ctx.get(dut.o.valid), ctx.get(dut.o.payload), ctx.get(dut.i.ready)) == (1, 7, 0)
            await ctx.tick()

    simulate(dut, testbench)


@pytest.mark.parametrize("name", ["lanes", "levels_per_stage"])
def test_config_refuses_zero(name):
    with pytest.raises(ValueError, match=f"^{name} must be an integer of at least 1"):
        TernaryDotConfig(**{name: 0})


def test_model_refuses_another_width():
    with pytest.raises(ValueError, match="must have 4 lanes"):
        ternary_dot(TernaryDotConfig(lanes=4), [0, 0, 0], [0, 0, 0, 0])


class LostCarry(TernaryDot):
    """The last lane is not negated in full."""

    def terms(self):
        terms, carries = super().terms()
        return terms, [*carries[:-1], Value.cast(0)]


class SignAsZero(TernaryDot):
    """Weights of -1 count as +1 in lane 1."""

    def terms(self):
        terms, carries = super().terms()
        w, x = Value.cast(self.i.p.w[1]), Value.cast(self.i.p.x[1])
        return [terms[0], (x & w[0].replicate(len(x))) ^ 1 << len(x) - 1, *terms[2:]], carries


@pytest.mark.parametrize("mutant", [LostCarry, SignAsZero])
def test_planted_bug_is_found(mutant):
    with pytest.raises(AssertionError):
        check_dot(TernaryDotConfig(lanes=7), component=mutant)


def test_a_pipeline_that_is_always_ready_is_found(monkeypatch):
    monkeypatch.setattr("hw.mac.ternary_dot.vacant", lambda m, ahead, name, *, advance: C(1))
    with pytest.raises(AssertionError):
        check_dot(TernaryDotConfig(lanes=7), stall=0.5)
