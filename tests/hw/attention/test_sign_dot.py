# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth.sim import Simulator

from golden_model.attention.sign_dot import sign_dot
from golden_model.attention_config import SignDotConfig
from hw.attention import sign_dot as unit
from hw.attention.sign_dot import SignDot

CONFIGS = [SignDotConfig(lanes=2), SignDotConfig(lanes=6, levels_per_stage=1),
           SignDotConfig(lanes=32), SignDotConfig(lanes=20, code_bits=4, query_bits=4),
           SignDotConfig(lanes=14, code_bits=1, query_bits=12, levels_per_stage=3)]


def operands(config, count=40):
    """Random queries and codes, the largest sums of both signs first."""
    rng = np.random.default_rng(3)
    low, top = -(1 << config.query_bits - 1), (1 << config.code_bits) - 1
    q = rng.integers(low, -low, (count, config.lanes))
    u = rng.integers(0, top + 1, (count, config.lanes))
    q[:3], u[0], u[1] = low, 0, top
    q[3], u[3] = 0, top
    return q, u


def run(dut, q, u, stall=0.0):
    """Collect sums in order, with random cycles in which everything stands still."""
    config, got = dut.config, []
    pairs = [[{"sum": int(a + b), "difference": int(a - b)} for a, b in row.reshape(-1, 2)]
             for row in q]
    rng = np.random.default_rng(5)

    async def testbench(ctx):
        moved = 0
        while moved < len(q) + config.latency:
            go = rng.random() >= stall
            ctx.set(dut.advance, int(go))
            if go:
                if moved >= config.latency:
                    value = ctx.get(dut.magnitude)
                    got.append(-value if ctx.get(dut.negative) else value)
                at = min(moved, len(q) - 1)
                ctx.set(dut.pairs, pairs[at])
                ctx.set(dut.codes, u[at].tolist())
                moved += 1
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(testbench)
    sim.run()
    return got


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_matches_golden_model(config, stall):
    q, u = operands(config)
    assert run(SignDot(config), q, u, stall) == sign_dot(config, q, u).tolist()


def test_latency_is_pinned():
    assert [config.latency for config in CONFIGS] == [1, 3, 3, 3, 2]


def test_sums_fill_their_width():
    config = CONFIGS[2]
    assert config.sum_bits == 16
    assert sign_dot(config, *operands(config))[0] == 128 * 32 * 7


def without_sign(left, right):
    return REAL_ADD(left, (right[0], left[1]))


REAL_ADD = unit.add


def test_a_lost_sign_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "add", without_sign)
    q, u = operands(CONFIGS[1])
    assert run(SignDot(CONFIGS[1]), q, u) != sign_dot(CONFIGS[1], q, u).tolist()


def test_swapped_planes_are_noticed():
    q, u = operands(CONFIGS[2])
    swapped = (u & 2) | u >> 2 | (u & 1) << 2
    assert run(SignDot(CONFIGS[2]), q, swapped) != sign_dot(CONFIGS[2], q, u).tolist()


@pytest.mark.parametrize(("wrong", "name"), [
    ({"lanes": 3}, "lanes"), ({"lanes": 0}, "lanes"), ({"query_bits": 13}, "query_bits"),
    ({"code_bits": 0}, "code_bits"), ({"levels_per_stage": 0}, "levels_per_stage")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        SignDotConfig(**wrong)
