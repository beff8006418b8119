# SPDX-License-Identifier: Apache-2.0
"""Quantisers against literal values worked out by hand, and their gradients."""

import pytest

torch = pytest.importorskip("torch")

quantize = pytest.importorskip("host.train.quantize")


def codes(quantized):
    return quantized.codes.tolist()


def test_ternary_is_absmean_of_the_whole_matrix():
    weight = torch.tensor([[0.9, -0.1], [-0.6, 0.4]])  # alpha 0.5: 1.8, -0.2, -1.2, 0.8
    assert codes(quantize.ternary(weight)) == [[1, 0], [-1, 1]]
    assert float(quantize.ternary(weight).scale) == 0.5


def test_int8_is_absmax_per_row():
    found = quantize.int8(torch.tensor([[127.0, -63.2, 0.4], [-2.0, 1.0, 0.0]]))
    assert codes(found) == [[127, -63, 0], [-127, 63, 0]]  # 63.5 less epsilon rounds down
    assert found.scale.flatten().tolist() == [1.0, pytest.approx(2 / 127)]


def test_int4_is_absmean_and_clips_unevenly():
    x = torch.tensor([[8.0, -8.0, 0.5, -0.5, 1.0, -1.0, 0.5, -0.5]])  # mean 2.5, step 0.945
    assert codes(quantize.int4(x)) == [[7, -8, 1, -1, 1, -1, 1, -1]]


def test_fp4_has_the_e2m1_grid_and_ties_to_even_mantissas():
    x = torch.tensor([[6, 5.01, 4.9, 3.6, 2.4, 1.8, 1.3, 0.8, 0.3, 0.2, -6.0]])
    assert codes(quantize.fp4(x)) == [[6, 6, 4, 4, 2, 2, 1.5, 1, 0.5, 0, -6]]
    ties = torch.tensor([[0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 6.0 - 1e-5]])
    assert codes(quantize.fp4(ties))[0][:6] == [0, 1, 1, 2, 2, 4]


def test_int4_of_gaussians_has_the_published_zeros_and_noise():
    x = torch.randn(64, 4096, generator=torch.Generator().manual_seed(0))
    q, scale = quantize.int4(x)
    assert float((q == 0).float().mean()) == pytest.approx(0.1199, abs=0.002)
    noise = (q * scale - x).square().mean()
    assert float(10 * torch.log10(x.square().mean() / noise)) == pytest.approx(18.8, abs=0.15)


@pytest.mark.parametrize(("values", "kept"), [
    ([5, -7, 1, 2], [5, -7, 0, 0]),
    ([3, 3, -3, 3], [3, 3, 0, 0]),
    ([0, 0, 0, 9], [0, 0, 0, 9]),
    ([-128, 127, 127, 1], [-128, 127, 0, 0]),
])
def test_top_k_keeps_exactly_half_and_the_lowest_index_among_ties(values, kept):
    assert quantize.top_k(torch.tensor([values], dtype=torch.float32), 0.5).tolist() == [kept]


def test_top_k_keeps_the_count_that_sorting_would():
    x = torch.randint(-128, 128, (50, 33), generator=torch.Generator().manual_seed(1)).float()
    order = x.abs().sort(dim=-1, descending=True, stable=True).indices[:, :16]
    expected = torch.zeros_like(x).scatter(1, order, x.gather(1, order))
    assert torch.equal(quantize.top_k(x, 0.5), expected)


def test_midrise_uses_all_levels_and_gives_bos_more():
    x = torch.tensor([1.0, -1.0, 0.5, 0.0]).expand(1, 2, 1, 4)
    bos, other = quantize.midrise_heads(x, 3, 4)[0, :, 0]
    assert (15 * bos).tolist() == pytest.approx([15, -15, 7, 1])  # u = 15, 0, 11, 8 (7.5 to even)
    assert (7 * other).tolist() == pytest.approx([7, -7, 3, 1])   # u = 7, 0, 5, 4 (3.5 to even)


def test_logit_noise_is_what_rounding_adds_to_logits():
    generator = torch.Generator().manual_seed(5)
    q = torch.randn(8, 64, 4, 32, generator=generator)
    k = torch.randn(8, 64, 2, 32, generator=generator) + 0.5
    error = (quantize.midrise_heads(k, 4, 4) - k).repeat_interleave(2, dim=2)
    added = torch.einsum("bqhd,bkhd->bhqk", q, error) / 32**0.5
    assert float(quantize.logit_noise(q, k, 4)) == pytest.approx(float(added.var()), rel=0.05)


def test_query_codes_are_symmetric():
    x = torch.tensor([7.0, -7.0, 3.4, 0.4]).view(1, 1, 1, 4)
    assert quantize.absmax_heads(x, 4).flatten().tolist() == [7, -7, 3, 0]


def test_trit_embedding_clips_at_its_span():
    weight = torch.tensor([[4.0, -4.0], [0.0, 0.0]])  # mean 2; span 1.5: 13 stands for 3
    assert codes(quantize.trit_embedding(weight, 1.5)) == [[13, -13], [0, 0]]
    assert float(quantize.trit_embedding(weight, 1.5).scale) == pytest.approx(3 / 13)


@pytest.mark.parametrize("function", [
    quantize.int8, quantize.int4, quantize.fp4, quantize.ternary,
])
def test_gradient_passes_rounding_and_clipping_as_identity(function):
    x = torch.tensor([[9.0, -0.3, 0.2, 1.0]], requires_grad=True)
    found = function(x)
    (found.codes * found.scale).sum().backward()
    assert x.grad.flatten().tolist() == pytest.approx([1.0] * 4, abs=1e-4)


def test_gradient_passes_the_mask():
    x = torch.tensor([[3.0, -9.0, 0.0, 1.0]], requires_grad=True)
    quantize.top_k(x, 0.5).sum().backward()
    assert x.grad.tolist() == [[1.0] * 4]
