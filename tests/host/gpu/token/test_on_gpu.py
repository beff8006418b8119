# SPDX-License-Identifier: Apache-2.0
"""On a GPU: the exact model's tokens and logits, bit for bit."""

from pathlib import Path

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.exact import ExactDecoder
from golden_model.weights import random_weights
from host.gpu.runtime import absence, device
from host.gpu.token.decoder import TokenDecoder
from host.model_file import load_model

MODEL = Path(__file__).parents[4] / "models" / "demo" / "model.safetensors"
pytestmark = pytest.mark.skipif(absence() is not None, reason=absence() or "")


def compare(weights, window, tokens, chunks, sparse=False, poison=False):
    golden = ExactDecoder(weights, window=window)
    wanted = golden.forward(tokens)
    decoder = TokenDecoder(device(), weights, window, sparse=sparse)
    if poison:
        decoder.launches.poison(0xA5)
    start = 0
    for end in [*chunks, len(tokens)]:
        chosen = decoder.read([int(token) for token in tokens[start:end]])
        logits, scale = decoder.logits()
        assert np.array_equal(logits, wanted[end - 1]), end
        assert scale == golden.logit_scale[end - 1]
        assert chosen == wanted[end - 1].argmax()
        start = end
    return decoder, golden


@pytest.mark.parametrize("sparse", [False, True])
def test_the_demo_model_over_a_wrapping_window(sparse):
    weights = load_model(MODEL)
    tokens = np.random.default_rng(1).integers(0, weights.shape.vocab, 100)
    tokens[0] = 0
    compare(weights, 32, tokens, range(1, 100), sparse=sparse, poison=True)


def test_the_demo_model_continues_its_own_tokens_without_the_host():
    weights = load_model(MODEL)
    decoder, golden = TokenDecoder(device(), weights, 128), ExactDecoder(weights, window=128)
    wanted = list(golden.generate([0, 17, 40], 150))
    assert decoder.read([0, 17, 40]) == wanted[0]
    assert decoder.run(149) == wanted[:149]


SHAPES = {
    "grouped": ModelShape(vocab=301, hidden=320, ffn=704, layers=2, heads=8, kv_heads=2,
                          head_dim=64, context=90),
    "wide": ModelShape(vocab=1000, hidden=640, ffn=1000, layers=2, heads=4, kv_heads=2,
                       head_dim=128, context=600),
    "odd": ModelShape(vocab=19, hidden=14, ffn=37, layers=2, heads=3, kv_heads=3, head_dim=10,
                      context=80),
    "one": ModelShape(vocab=2, hidden=1, ffn=1, layers=1, heads=1, kv_heads=1, head_dim=2,
                      context=40),
}
NUMERICS = {
    "usual": Numerics(), "int8": Numerics(act_format="int8", topk_keep=(1, 1)),
    "fp4": Numerics(act_format="fp4", wo_format="fp4", topk_keep=(1, 1), kv_code="symmetric"),
    "fine": Numerics(kv_bits=4, bos_bits=8, q_bits=16, p_bits=12, topk_block=32,
                     topk_key="value"),
}


@pytest.mark.parametrize("numerics", NUMERICS.values(), ids=NUMERICS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_other_shapes_and_formats(shape, numerics):
    weights = random_weights(shape, numerics, 7)
    tokens = np.random.default_rng(2).integers(0, shape.vocab, min(shape.context, 300))
    window = shape.context * 2 // 5
    compare(weights, window, tokens, [1, 2, 3, window - 1, window, window + 1], poison=True)


def test_vectors_of_several_chunks_a_warp():
    shape = ModelShape(vocab=50, hidden=300, ffn=9000, layers=2, heads=132, kv_heads=33,
                       head_dim=64, context=40)
    tokens = np.random.default_rng(3).integers(0, shape.vocab, 20)
    compare(random_weights(shape, Numerics(), 8), 10, tokens, [1, 2, 11], poison=True)
