# SPDX-License-Identifier: Apache-2.0
"""The golden model of attention with its cache does what the exact decoder does."""

import numpy as np
import pytest

from golden_model.attention.cached_attention import cycle_bounds
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ModelShape, Numerics
from golden_model.quant_config import SmallFloatUnitConfig
from golden_model.weights import random_weights
from tests.hw.attention.cached import model_sequence
from tests.hw.attention.tokens import small


@pytest.mark.parametrize(("numerics", "window", "n"), [
    (Numerics(), 4, 8), (Numerics(kv_bits=4), 5, 12), (Numerics(p_bits=12), 3, 20)], ids=str)
def test_a_window_that_wraps_gives_the_decoders_words(numerics, window, n):
    shape = ModelShape(vocab=17, hidden=24, ffn=12, layers=2, heads=4, kv_heads=2, head_dim=n,
                       context=20)
    tokens = np.random.default_rng(5).integers(0, 17, 15).tolist()
    sequence, outputs = model_sequence(random_weights(shape, numerics, seed=3), tokens, [0, -1],
                                       window, 8, 2)
    assert sequence.wanted == [row for words, _ in outputs for row in words.reshape(-1, 4).tolist()]
    assert sequence.scales == [small(scale) for _, scale in outputs]
    assert not sequence.golden.cache.errors


def test_bounds_are_pinned():
    shape = ModelShape(vocab=2, hidden=2, ffn=2, layers=1, heads=4, kv_heads=2, head_dim=32,
                       context=128)
    config = CachedAttentionConfig.of(shape, Numerics(), lanes=32, queries=2, window=128)
    assert cycle_bounds(config, SmallFloatUnitConfig(), heads=4, kv_heads=2, rows=128, n=32) == (
        847, 3326)
