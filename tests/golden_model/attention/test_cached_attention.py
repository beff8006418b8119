# SPDX-License-Identifier: Apache-2.0
"""The golden model of attention with its cache does what the exact decoder does."""

import numpy as np
import pytest

from golden_model.attention.attention import bounds
from golden_model.attention.cached_attention_cycles import command_cycles
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ModelShape, Numerics
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


def demo(**options):
    """Geometry of the demo model's attention at its full window."""
    shape = ModelShape(vocab=2, hidden=2, ffn=2, layers=6, heads=4, kv_heads=2, head_dim=32,
                       context=128)
    geometry = {"lanes": 32, "queries": 2, "window": 128, "beat": 8, **options}
    return CachedAttentionConfig.of(shape, Numerics(), **geometry)


ULX3S = {"grouped": True, "beat": 4, "abreast": 4, "rows_per_stage": 9, "form": "dsp"}
"""What the preset has."""

WIDE = {**ULX3S, "beat": 8}
"""What makes a token's attention shortest at 50 MHz."""


def demo_cycles(rows, arrivals=None, **options):
    return command_cycles(demo(**options), heads=4, kv_heads=2, n=32, rows=rows, arrivals=arrivals)


@pytest.mark.parametrize(("options", "rows", "last"), [
    ({}, 1, 245), ({}, 16, 267), ({}, 64, 404), ({}, 128, 628), ({"queries": 1}, 128, 870),
    ({"grouped": True}, 128, 572), (ULX3S, 1, 239), (ULX3S, 16, 241), (ULX3S, 64, 336),
    (ULX3S, 128, 544), (WIDE, 1, 216), (WIDE, 16, 218), (WIDE, 64, 321), (WIDE, 128, 529)], ids=str)
def test_cycles_are_pinned(options, rows, last):
    assert demo_cycles(rows, **options).out[-1] == last


def test_a_full_window_takes_little_more_than_the_bound_of_one_array():
    """The whole command, against both products on one array as wide."""
    bound = bounds(demo(**ULX3S).attention, 4, 2, 128, 32)
    assert bound["array"] == 512
    assert demo_cycles(128, **ULX3S).out[-1] <= 1.10 * max(bound["array"], bound["cache"])


@pytest.mark.parametrize(("options", "rows", "beyond"), [
    ({}, 1, 130), ({}, 128, 489), (ULX3S, 1, 139), (ULX3S, 128, 330), (WIDE, 1, 120),
    (WIDE, 128, 319)], ids=str)
def test_cycles_behind_the_last_word_of_an_array_are_pinned(options, rows, beyond):
    """An array of 2 x 64 makes two words every two cycles of products of 128 columns."""
    beat = demo(**options).attention.beat
    arrivals = [beat * number + beat for number in range(256 // beat)]
    assert demo_cycles(rows, arrivals, **options).out[-1] - arrivals[-1] == beyond


def test_arrivals_of_another_number_of_beats_are_refused():
    with pytest.raises(ValueError, match=r"^arrivals must be 32 cycles, not 3$"):
        demo_cycles(1, [0, 1, 2])


@pytest.mark.slow
def test_a_layer_of_2b4t_keeps_the_target():
    shape = ModelShape(vocab=2, hidden=2, ffn=2, layers=1, heads=20, kv_heads=5, head_dim=128,
                       context=2048)
    config = CachedAttentionConfig.of(shape, Numerics(), lanes=64, queries=4, window=2048, beat=8)
    bound = bounds(config.attention, 20, 5, 2048, 128)
    took = command_cycles(config, heads=20, kv_heads=5, n=128, rows=2048).out[-1]
    assert took <= 1.10 * max(bound["array"], bound["cache"])
