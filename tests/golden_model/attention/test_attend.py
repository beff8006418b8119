# SPDX-License-Identifier: Apache-2.0
"""Attention: visibility, corners, widths, distance from real softmax over the same codes."""

import numpy as np
import pytest

from golden_model import smallfloat as sf
from golden_model.attention.attend import AttentionWidths, attend, attend_float, visible
from golden_model.config import ModelShape, Numerics
from golden_model.evaluate import sqnr_db
from golden_model.kv.row_code import (
    quantize_query,
    quantize_row,
    row_peak,
    row_steps,
    row_zeros,
)


def shape(heads=4, kv_heads=2, head_dim=16):
    return ModelShape(vocab=2, hidden=8, ffn=8, layers=1, heads=heads, kv_heads=kv_heads,
                      head_dim=head_dim, context=4096)


def case(numerics, rows=40, heads=4, kv_heads=2, head_dim=16, seed=0, spread=1.0):
    """Random queries and rows as codes, and the same as reals."""
    rng = np.random.default_rng(seed)

    def words(count, n):
        return np.rint(rng.normal(0, 1000 * spread, (1, count, n, head_dim))).astype(np.int64)

    unit = np.full((1, 1, 1), sf.from_float(2e-3))
    q, qs = quantize_query(words(rows, heads), unit, numerics.q_bits)
    kept = []
    for _ in range(2):
        x, code = words(rows, kv_heads), numerics.kv_code
        u, s = quantize_row(x, unit, numerics.kv_bits, code)
        steps = row_steps(u, numerics.kv_bits, code, row_zeros(x, numerics.kv_bits, code))
        kept += [steps.swapaxes(1, 2), s.swapaxes(1, 2)]
    widths = AttentionWidths.of(shape(heads, kv_heads, head_dim), numerics)
    k, ks, v, vs = kept
    return (q, qs, k.astype(widths.score_carrier), ks, v.astype(widths.output_carrier), vs), widths


def real(args, mask):
    q, qs, k, ks, v, vs = args
    return attend_float(q * qs[..., None], k * ks[..., None], v * vs[..., None], mask)


@pytest.mark.parametrize(("kwargs", "bound"), [
    ({}, 43), ({"p_bits": 12}, 52), ({"kv_bits": 4}, 43), ({"kv_code": "symmetric"}, 43),
    ({"kv_code": "minmax"}, 43),
    ({"kv_bits": 16, "bos_bits": 16, "q_bits": 16, "p_bits": 12}, 50), ({"q_bits": 4}, 43),
    ({"kv_bits": 8, "bos_bits": 8}, 43),
])
@pytest.mark.parametrize("heads", [(4, 2), (3, 3), (4, 1)])
def test_close_to_real_softmax_over_the_same_codes(kwargs, bound, heads):
    args, widths = case(Numerics(**kwargs), heads=heads[0], kv_heads=heads[1])
    mask = visible(0, 40, 64)
    words, scale = attend(*args, mask, widths)
    assert words.shape == (1, 40, heads[0] * 16)
    assert sqnr_db(real(args, mask), words * scale[..., None]) > bound


def test_bound_notices_a_wrong_score_scale():
    """Negative control: natural instead of binary exponents fail the bound."""
    args, widths = case(Numerics())
    mask = visible(0, 40, 64)
    wrong = widths._replace(score_scale=sf.from_float(2 ** 8 / 4))
    words, scale = attend(*args, mask, wrong)
    assert sqnr_db(real(args, mask), words * scale[..., None]) < 30


@pytest.mark.parametrize("kwargs", [{}, {"kv_bits": 4}, {"kv_bits": 8, "bos_bits": 8},
                                    {"kv_bits": 16, "bos_bits": 16, "p_bits": 12},
                                    {"kv_code": "minmax"}, {"bos_bits": 8},
                                    {"bos_bits": 16, "p_bits": 12}])
def test_4096_equal_extreme_rows_neither_overflow_nor_saturate(kwargs):
    numerics = Numerics(**kwargs)
    widths = AttentionWidths.of(shape(heads=1, kv_heads=1, head_dim=128), numerics)
    peak = row_peak(numerics.kv_bits, numerics.kv_code)
    steps = np.full((1, 1, 4096, 128), peak)
    ones = np.ones((1, 1, 4096))
    q = np.full((1, 1, 1, 128), 127)
    words, scale = attend(q, np.full((1, 1, 1), sf.from_float(1e-3)),
                          steps.astype(widths.score_carrier), ones,
                          steps.astype(widths.output_carrier), ones, np.ones((1, 4096), bool),
                          widths)
    assert np.abs(words).max() < 2 ** 23 - 1
    assert words * scale[..., None] == pytest.approx(peak, rel=1e-4)


def test_scores_beyond_a_word_saturate_and_share_the_weight():
    """Both rows reach the largest score, so both weigh the same."""
    widths = AttentionWidths.of(shape(heads=1, kv_heads=1, head_dim=2), Numerics())
    k = np.array([[[[7, 7], [5, 5], [-7, -7]]]], np.float32)
    v = np.array([[[[1, 0], [0, 1], [7, 7]]]], np.float32)
    big, one = np.full((1, 1, 3), sf.from_float(1e6)), np.ones((1, 1, 3))
    words, scale = attend(np.array([[[[127, 127]]]]), np.ones((1, 1, 1)), k, big, v, one,
                          np.ones((1, 3), bool), widths)
    assert words * scale[..., None] == pytest.approx(0.5, rel=0.01)


def test_rows_without_values_give_zero():
    args, widths = case(Numerics(), rows=3)
    q, qs, k, ks, v, vs = args
    words, scale = attend(q, qs, k, ks, v, np.zeros_like(vs), visible(0, 3, 8), widths)
    assert not words.any()
    assert not scale.any()


def test_row_of_zeros_still_takes_its_weight():
    args, widths = case(Numerics(), rows=4)
    q, qs, k, ks, v, vs = args
    vs = vs.copy()
    vs[:, :, 1] = 0
    args = (q, qs, k, ks, v, vs)
    words, scale = attend(*args, visible(0, 4, 8), widths)
    assert sqnr_db(real(args, visible(0, 4, 8)), words * scale[..., None]) > 40


def test_heads_of_very_different_size():
    args, widths = case(Numerics(), heads=2, kv_heads=2, rows=8)
    q, qs, k, ks, v, vs = args
    vs = vs * np.array([1.0, 2.0 ** -30])[None, :, None]
    args = (q, qs, k, ks, v, vs)
    words, scale = attend(*args, visible(0, 8, 8), widths)
    assert not words[..., 16:].any()
    assert sqnr_db(real(args, visible(0, 8, 8)), words * scale[..., None]) > 40


def test_visible_rows():
    assert visible(2, 1, 9).tolist() == [[True, True, True]]
    # A window of 3: the sink, the previous token and the token itself.
    assert visible(0, 5, 3).astype(int).tolist() == [
        [1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 0, 0, 1, 1]]


def test_hidden_rows_do_not_matter():
    args, widths = case(Numerics(), rows=12)
    mask = visible(0, 12, 5)
    words, scale = attend(*args, mask, widths)
    q, qs, k, ks, v, vs = args
    hidden = (slice(None), slice(None), slice(1, 7))
    k, ks, v, vs = k.copy(), ks.copy(), v.copy(), vs.copy()
    k[hidden], v[hidden], ks[hidden], vs[hidden] = 7, -7, 2.0 ** 20, 2.0 ** 20
    others = attend(q, qs, k, ks, v, vs, mask, widths)
    assert np.array_equal(words[:, -1], others[0][:, -1])
    assert np.array_equal(scale[:, -1], others[1][:, -1])
    assert not np.array_equal(words[:, 5], others[0][:, 5])
