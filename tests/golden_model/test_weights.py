# SPDX-License-Identifier: Apache-2.0
"""What DecoderWeights refuses."""

from dataclasses import replace

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.weights import LayerWeights, TernaryMatrix, random_weights

SHAPE = ModelShape(vocab=7, hidden=6, ffn=10, layers=2, heads=3, kv_heads=1, head_dim=4, context=9)
WEIGHTS = random_weights(SHAPE, Numerics(), 1)


def test_random_weights_are_seeded():
    again, other = random_weights(SHAPE, Numerics(), 1), random_weights(SHAPE, Numerics(), 2)
    assert np.array_equal(WEIGHTS.embedding, again.embedding)
    assert not np.array_equal(WEIGHTS.embedding, other.embedding)
    assert WEIGHTS.layers[1].matrices["wo"].trits.shape == (6, 12)


def with_layer(matrices=None, gains=None):
    layer = WEIGHTS.layers[0]
    changed = LayerWeights(matrices=layer.matrices | (matrices or {}),
                           gains=layer.gains | (gains or {}))
    return replace(WEIGHTS, layers=(changed, WEIGHTS.layers[1]))


def trits(*shape, value=0):
    return np.full(shape, value, np.int8)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: TernaryMatrix(trits=trits(2, 2, value=2), scale=1.0), "-1..1, not 2"),
    (lambda: TernaryMatrix(trits=np.zeros((2, 2)), scale=1.0), "int8 matrix, not float64"),
    (lambda: TernaryMatrix(trits=trits(2), scale=1.0), r"\[2\]"),
    (lambda: TernaryMatrix(trits=trits(2, 2), scale=0.0), "scale must be positive"),
    (lambda: TernaryMatrix(trits=trits(2, 2), scale=float("nan")), "scale must be positive"),
    (lambda: replace(WEIGHTS, residual_frac=24), "residual_frac must lie in 0..23, not 24"),
    (lambda: replace(WEIGHTS, residual_frac=-1), "residual_frac"),
    (lambda: replace(WEIGHTS, embedding=trits(7, 6, value=14)), "embedding .* -13..13, not 14"),
    (lambda: replace(WEIGHTS, embedding=trits(7, 5)), r"embedding must be \[7, 6\], not \[7, 5\]"),
    (lambda: replace(WEIGHTS, embedding_scale=-1.0), "embedding_scale"),
    (lambda: replace(WEIGHTS, final_gain=np.ones(5)), "final_gain must have 6 elements"),
    (lambda: replace(WEIGHTS, final_gain=np.full(6, np.inf)), "final_gain must be finite"),
    (lambda: replace(WEIGHTS, layers=WEIGHTS.layers[:1]), "layers must number 2, not 1"),
    (lambda: with_layer({"wq": TernaryMatrix(trits=trits(6, 6), scale=1.0)}),
     r"layers.0.wq must be \[12, 6\], not \[6, 6\]"),
    (lambda: with_layer({"wz": TernaryMatrix(trits=trits(6, 6), scale=1.0)}), "layers.0.matrices"),
    (lambda: with_layer(gains={"ffn_norm": np.ones(3)}), "layers.0.ffn_norm must have 6"),
    (lambda: with_layer(gains={"other": np.ones(3)}), "layers.0.gains"),
    (lambda: replace(WEIGHTS, layers=(WEIGHTS.layers[0], random_weights(
        WEIGHTS.shape, WEIGHTS.numerics, 1, sub_norms=False).layers[1])), "layers.1.gains"),
])
def test_refusals_name_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
