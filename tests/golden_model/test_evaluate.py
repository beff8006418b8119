# SPDX-License-Identifier: Apache-2.0
"""Perplexity, zeros, and the sparsity arithmetic of the paper's table 2."""

import math
from itertools import pairwise

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.decoder import LinearTrace
from golden_model.evaluate import active_share, perplexity, sqnr_db, zero_shares
from golden_model.exact import ExactDecoder
from golden_model.reference import ReferenceDecoder
from golden_model.weights import random_weights

SHAPE = ModelShape(vocab=11, hidden=16, ffn=24, layers=1, heads=2, kv_heads=1, head_dim=8,
                   context=12)

# hidden, GLU, heads, layers; zeros of QKV, Out, Up, Gate, Down; overall; gate output, all in %.
TABLE_2 = {
    "700M": ((1536, 4096, 24, 24), (12.1, 50.0, 66.2, 12.1, 80.9), 42.5, 61.5),
    "1.3B": ((2048, 5460, 32, 24), (12.0, 50.0, 65.9, 12.1, 81.8), 42.7, 61.2),
    "3B": ((3200, 8640, 32, 26), (12.1, 50.0, 70.7, 12.1, 85.6), 44.7, 66.7),
    "7B": ((4096, 11008, 32, 32), (12.1, 50.0, 71.4, 12.0, 84.2), 44.5, 67.5),
}


@pytest.mark.parametrize("size", TABLE_2)
def test_overall_sparsity_of_the_paper(size):
    (hidden, ffn, heads, layers), zeros, overall, gate_output = TABLE_2[size]
    shape = ModelShape(vocab=32_000, hidden=hidden, ffn=ffn, layers=layers, heads=heads,
                       kv_heads=heads, head_dim=hidden // heads, context=2048)
    qkv, out, up, gate, down = (z / 100 for z in zeros)
    shares = {"wq": qkv, "wk": qkv, "wv": qkv, "wo": out, "gate": gate, "up": up, "down": down}
    assert 100 * (1 - active_share(shape, shares)) == pytest.approx(overall, abs=0.1)
    assert 100 * (1 - (1 - up) / (1 - gate)) == pytest.approx(gate_output, abs=0.06)


def test_up_sparsity_composes():
    """An up weight is skipped if its input is zero or its row's gate is: 71.4 % at 7B."""
    assert 1 - (1 - 0.12) * (1 - 0.675) == pytest.approx(0.714, abs=5e-4)


def test_parameters_of_bitnet_2b4t():
    shape = ModelShape(vocab=128_256, hidden=2560, ffn=6912, layers=30, heads=20, kv_heads=5,
                       head_dim=128, context=4096)
    assert shape.ternary_parameters == 2_084_044_800


@pytest.mark.parametrize("make", [ReferenceDecoder, ExactDecoder])
def test_perplexity_from_the_definition(make):
    decoder = make(random_weights(SHAPE, Numerics(), 3))
    windows = np.random.default_rng(1).integers(0, 11, (5, 12))
    losses = []
    for window in windows:
        decoder.reset()
        for token, following in pairwise(window):
            z = (decoder.forward([token]) * decoder.logit_scale[:, None])[0]
            losses.append(math.log(sum(math.exp(v - z[following]) for v in z)))
    expected = math.exp(sum(losses) / len(losses))
    for batch in (1, 2, 5):
        assert perplexity(decoder, windows, batch) == pytest.approx(expected, rel=1e-12)
    assert decoder.position == 0


@pytest.mark.parametrize("shape", [(0, 4), (3, 1), (4,)])
def test_bad_windows(shape):
    with pytest.raises(ValueError, match="windows"):
        perplexity(ReferenceDecoder(random_weights(SHAPE, Numerics(), 3)), np.zeros(shape, int))


def test_zero_shares_average_over_layers():
    def trace(codes):
        return LinearTrace(np.array([codes], np.int8), np.zeros((1, 1), np.int64), np.ones(1),
                           np.ones(1))

    capture = {"layers.0.wo": trace([0, 0, 1, 1]), "layers.1.wo": trace([0, 0, 0, 1]),
               "head": trace([1])}
    assert zero_shares(capture) == {"wo": 0.625, "head": 0.0}


def test_sqnr():
    assert sqnr_db(np.ones(4), np.full(4, 1.1)) == pytest.approx(20)
    assert sqnr_db(np.ones(4), np.ones(4)) == math.inf
