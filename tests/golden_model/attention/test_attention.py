# SPDX-License-Identifier: Apache-2.0
"""Heads of one token: against the whole attention, on random and on captured rows; cycles."""

import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.attention import attend as whole
from golden_model.attention.attend import AttentionWidths, attend
from golden_model.attention.attention import (
    attention_cycles,
    attention_heads,
    bounds,
    score_scale_of,
)
from golden_model.attention_config import AttentionConfig
from golden_model.config import ModelShape, Numerics
from golden_model.kv.row_code import quantize_query, quantize_row, row_steps, row_zeros
from tests.hw.attention.tokens import captured_token, demo_calls


def shape_of(heads, kv_heads, head_dim, window=128):
    return ModelShape(vocab=2, hidden=2, ffn=2, layers=1, heads=heads, kv_heads=kv_heads,
                      head_dim=head_dim, context=window)


def rows_of(rng, shape, numerics, count):
    """Codes, scales, steps and zero points of random rows [G, T, n]."""
    x = np.rint(rng.normal(0, 1000, (shape.kv_heads, count, shape.head_dim))).astype(np.int64)
    x[:, rng.random(count) < 0.1] = 0
    unit = np.full(x.shape[:2], smallfloat.from_float(2e-3))
    code = numerics.kv_code
    codes, scale = quantize_row(x, unit, numerics.kv_bits, code)
    first, scale[:, 0] = quantize_row(x[:, 0], unit[:, 0], numerics.bos_bits, code)
    zeros = row_zeros(x, numerics.kv_bits, code)
    zeros[:, 0] = row_zeros(x[:, 0], numerics.bos_bits, code)
    steps = row_steps(codes, numerics.kv_bits, code, zeros)
    codes[:, 0], steps[:, 0] = first, row_steps(first, numerics.bos_bits, code, zeros[:, 0])
    return codes, scale, steps, zeros


@pytest.mark.parametrize("numerics", [
    Numerics(), Numerics(p_bits=12), Numerics(kv_bits=4), Numerics(q_bits=4),
    Numerics(kv_bits=8, bos_bits=8, q_bits=16), Numerics(kv_code="symmetric"),
    Numerics(kv_code="minmax")], ids=str)
@pytest.mark.parametrize("heads", [(4, 2), (3, 3), (4, 1)])
@pytest.mark.parametrize("count", [1, 2, 33])
def test_heads_joined_are_the_whole_attention(numerics, heads, count):
    rng = np.random.default_rng(count)
    shape = shape_of(*heads, 20)
    widths = AttentionWidths.of(shape, numerics)
    config = AttentionConfig.of(shape, numerics, lanes=8, queries=1, window=64)
    q, q_scale = quantize_query(rng.integers(-5000, 5001, (shape.heads, 20)),
                                np.full(shape.heads, smallfloat.from_float(2e-3)), numerics.q_bits)
    keys, key_scale, key_steps, key_zero = rows_of(rng, shape, numerics, count)
    values, value_scale, value_steps, value_zero = rows_of(rng, shape, numerics, count)
    sums, scale = attention_heads(config, q, q_scale, score_scale_of(20), keys, key_scale, values,
                                  value_scale, (key_zero, value_zero))
    joined = whole._join_heads(sums[None, None], scale[None, None], widths.output_shift)
    expected = attend(q[None, None], q_scale[None, None], key_steps[None].astype(
        widths.score_carrier), key_scale[None], value_steps[None].astype(widths.output_carrier),
        value_scale[None], np.ones((1, count), bool), widths)
    assert (joined[0] == expected[0]).all()
    assert (joined[1] == expected[1]).all()


def test_heads_joined_are_the_whole_attention_on_rows_of_the_demo_model():
    weights, calls = demo_calls(70, 40)
    shape, numerics = weights.shape, weights.numerics
    config = AttentionConfig.of(shape, numerics, lanes=32, queries=1, window=40)
    assert len(calls) == shape.layers
    for number, arguments in enumerate(calls):
        token = captured_token(calls, numerics, number)
        assert token.keys.shape == (shape.kv_heads, 40, shape.head_dim)
        sums, scale = token.expected(config)
        joined = whole._join_heads(sums[None, None], scale[None, None], arguments[-1].output_shift)
        expected = attend(*arguments)
        assert (joined[0][0, 0] == expected[0][0, -1]).all()
        assert joined[1] == expected[1][0, -1]


def test_the_score_scale_is_that_of_the_model():
    for n in (32, 64, 100, 128):
        widths = AttentionWidths.of(shape_of(1, 1, n), Numerics())
        assert score_scale_of(n) == widths.score_scale


def cycles(heads, kv_heads, head_dim, rows, **geometry):
    shape = shape_of(heads, kv_heads, head_dim, rows)
    config = AttentionConfig.of(shape, Numerics(), window=rows, **geometry)
    took = attention_cycles(config, config.unit, heads=heads, rows=rows, head_dim=head_dim)
    return took, bounds(config, heads, kv_heads, rows, head_dim)


@pytest.mark.parametrize(("geometry", "took"), [
    ((4, 2, 32, 128, 32, 2), 542), ((4, 2, 32, 128, 32, 1), 786), ((4, 2, 32, 128, 64, 2), 559),
    ((4, 2, 32, 1, 32, 2), 138), ((4, 2, 32, 64, 32, 2), 318), ((8, 8, 64, 256, 64, 1), 2539)])
def test_cycles_are_pinned(geometry, took):
    *shape, lanes, queries = geometry
    assert cycles(*shape, lanes=lanes, queries=queries)[0].total == took


@pytest.mark.slow
@pytest.mark.parametrize(("queries", "took"), [(1, 87_265), (2, 46_319), (4, 25_942)])
def test_cycles_of_2b4t_are_pinned(queries, took):
    found, bound = cycles(20, 5, 128, 2048, lanes=64, queries=queries)
    assert found.total == took
    assert found.total <= 1.10 * max(bound["array"], bound["cache"])
    assert found.total <= 1.06 * bound["dependent"]


def test_a_single_array_would_take_longer_than_two_engines():
    """One head at a time, the demo's window: below the bound of one array for both products."""
    found, bound = cycles(4, 2, 32, 128, lanes=32, queries=1)
    assert found.total <= 1.10 * max(bound["array"], bound["cache"])
