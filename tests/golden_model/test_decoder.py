# SPDX-License-Identifier: Apache-2.0
"""Both decoders: batching, cache, window, refusals; and the distance between them."""

from dataclasses import replace

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.evaluate import sqnr_db
from golden_model.exact import ExactDecoder
from golden_model.reference import ReferenceDecoder
from golden_model.sampling import TemperatureSampler
from golden_model.weights import random_weights

SHAPE = ModelShape(vocab=41, hidden=48, ffn=72, layers=2, heads=4, kv_heads=2, head_dim=12,
                   context=40)
TOKENS = np.random.default_rng(5).integers(0, 41, (3, 40))
SWITCHES = [{}, {"act_format": "int8"}, {"act_format": "fp4"}, {"kv_bits": 4}, {"q_bits": 4},
            {"act_format": "fp4", "wo_format": "fp4", "topk_keep": (1, 1)}, {"p_bits": 12},
            {"kv_bits": 16, "bos_bits": 16, "q_bits": 16}, {"bos_bits": 8}, {"topk_block": 32},
            {"topk_key": "value"}, {"kv_code": "symmetric"}, {"kv_code": "minmax"},
            {"topk_keep": (0, 1)}]


def decoder(make=ExactDecoder, window=None, shape=SHAPE, seed=2, **switches):
    return make(random_weights(shape, Numerics(**switches), seed), window=window)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("window", [None, 7])
def test_batches_equal_one_token_at_a_time(switches, window):
    batch = decoder(window=window, **switches)
    logits = batch.forward(TOKENS)
    scale = batch.logit_scale
    single = decoder(window=window, **switches)
    for b in range(2):
        single.reset()
        for t, token in enumerate(TOKENS[b]):
            assert np.array_equal(single.forward([token])[0], logits[b, t]), (b, t)
            assert single.logit_scale[0] == scale[b, t]
    split = decoder(window=window, **switches)
    parts = [split.forward(part) for part in np.split(TOKENS, [1, 9, 10], axis=1)]
    assert np.array_equal(np.concatenate(parts, axis=1), logits)


def test_reference_batches_agree_too():
    batch, single = decoder(ReferenceDecoder, window=7), decoder(ReferenceDecoder, window=7)
    logits = batch.forward(TOKENS[0])
    assert np.allclose(np.concatenate([single.forward([t]) for t in TOKENS[0]]), logits, atol=1e-9)


def test_eviction_keeps_bos_and_forgets_the_others():
    """Within one layer, a token's logits depend on nothing but the rows that it sees."""
    shape = replace(SHAPE, layers=1)
    kept = decoder(window=5, shape=shape).forward(TOKENS[0])
    changed = TOKENS[0].copy()
    changed[1:36] = (changed[1:36] + 1) % 41
    assert np.array_equal(decoder(window=5, shape=shape).forward(changed)[-1], kept[-1])
    changed = TOKENS[0].copy()
    changed[0] = (changed[0] + 1) % 41
    assert not np.array_equal(decoder(window=5, shape=shape).forward(changed)[-1], kept[-1])
    changed = TOKENS[0].copy()
    changed[36] = (changed[36] + 1) % 41
    assert not np.array_equal(decoder(window=5, shape=shape).forward(changed)[-1], kept[-1])


def test_window_as_long_as_the_text_changes_nothing():
    whole = decoder().forward(TOKENS)
    assert np.array_equal(decoder(window=40).forward(TOKENS), whole)
    assert not np.array_equal(decoder(window=39).forward(TOKENS), whole)


def test_reset_starts_over():
    model = decoder()
    first = model.forward(TOKENS[0])
    assert model.position == 40
    model.reset()
    assert np.array_equal(model.forward(TOKENS[0]), first)


def test_generation_is_reproducible_and_feeds_its_own_tokens():
    tokens = list(decoder().generate([0, 5], 12, TemperatureSampler(0.7, 3)))
    assert tokens == list(decoder().generate([0, 5], 12, TemperatureSampler(0.7, 3)))
    greedy = list(decoder().generate([0, 5], 12))
    logits = decoder().forward([0, 5, *greedy[:-1]])
    assert logits[1:].argmax(axis=1).tolist() == greedy


@pytest.mark.parametrize("make", [ExactDecoder, ReferenceDecoder])
def test_capture_holds_every_product(make):
    model, capture = decoder(make), {}
    model.forward(TOKENS[0, :6], capture)
    parts = ("wq", "wk", "wv", "wo", "gate", "up", "down")
    assert set(capture) == {f"layers.{i}.{p}" for i in range(2) for p in parts} | {"head"}
    for name, trace in capture.items():
        matrix = (model.weights.embedding if name == "head" else
                  model.weights.layers[int(name.split(".")[1])].matrices[name.split(".")[2]].trits)
        assert trace.codes.dtype == np.int8
        assert trace.sums.dtype == np.int64
        assert trace.codes.shape == (6, matrix.shape[1])
        assert np.array_equal(trace.sums, trace.codes.astype(np.int64) @ matrix.T.astype(np.int64))
        assert trace.in_scale.shape == trace.out_scale.shape == (6,)
    kept = np.count_nonzero(capture["layers.1.wo"].codes, axis=1)
    assert (kept <= 24).all()
    assert kept.max() > 20
    assert np.abs(capture["layers.0.wq"].codes.astype(int)).max() <= 8


@pytest.mark.parametrize("switches", [s for s in SWITCHES if s != {"topk_keep": (0, 1)}], ids=str)
def test_first_products_are_close_to_the_reference(switches):
    """The input of QKV has seen one norm and one quantiser; flipped near-ties are what is left."""
    captures = []
    for make in (ReferenceDecoder, ExactDecoder):
        captures.append({})
        decoder(make, **switches).forward(TOKENS, captures[-1])
    one, two = captures
    for part in ("wq", "wk", "wv"):
        a, b = one[f"layers.0.{part}"], two[f"layers.0.{part}"]
        least = 0.97 if switches.get("act_format") == "int8" else 0.99
        assert np.mean(a.codes == b.codes) > least
        assert sqnr_db(a.sums * a.out_scale[..., None], b.sums * b.out_scale[..., None]) > 35


SMOOTH = {"act_format": "int8", "kv_bits": 16, "bos_bits": 16, "q_bits": 16, "topk_keep": (1, 1),
          "p_bits": 12}


@pytest.mark.parametrize(("switches", "sub_norms", "bound"), [
    # Without coarse steps in between, the two stay together; every 4-bit or 3-bit code that sits
    # on an edge may fall to either side, and an untrained model amplifies that.
    (SMOOTH, True, 28), (SMOOTH, False, 28), ({"act_format": "int8"}, True, 11), ({}, True, 8),
    ({"kv_bits": 4}, True, 8),
])
def test_whole_model_logits_are_close_to_the_reference(switches, sub_norms, bound):
    weights = random_weights(SHAPE, Numerics(**switches), 2, sub_norms)
    exact, wanted = ExactDecoder(weights), ReferenceDecoder(weights).forward(TOKENS)
    assert sqnr_db(wanted, exact.forward(TOKENS) * exact.logit_scale[..., None]) > bound


def test_bound_notices_another_format():
    """Negative control: the reference with FP4 inputs is not within the INT8 bound."""
    exact = decoder(act_format="int8")
    logits = exact.forward(TOKENS) * exact.logit_scale[..., None]
    assert sqnr_db(decoder(ReferenceDecoder, act_format="fp4").forward(TOKENS), logits) < 11


def test_saturated_residual_stream_still_runs():
    weights = replace(random_weights(SHAPE, Numerics(), 2), residual_frac=23)
    logits = ExactDecoder(weights).forward(TOKENS)
    assert np.isfinite(logits).all()


def test_zero_embedding_row_gives_zero_logits_scale_free():
    weights = random_weights(SHAPE, Numerics(), 2)
    embedding = weights.embedding.copy()
    embedding[0] = 0
    model = ExactDecoder(replace(weights, embedding=embedding))
    assert not model.forward([0, 0]).any()


@pytest.mark.parametrize(("tokens", "message"), [
    ([], r"\[T\]"), ([[[1]]], r"\[1, 1, 1\]"), ([0.5], "float64"), ([41], "0..40, not 41"),
    ([-1], "0..40, not -1"), ([0] * 41, "context of 40, not reach 40"),
])
def test_bad_tokens(tokens, message):
    with pytest.raises(ValueError, match=message):
        decoder().forward(tokens)


def test_other_refusals():
    model = decoder()
    model.forward(TOKENS[:2, :3])
    with pytest.raises(ValueError, match="holds 2 sequences, not 1"):
        model.forward([1])
    with pytest.raises(ValueError, match=r"window must lie in 2..4096, not 1"):
        decoder(window=1)
    with pytest.raises(ValueError, match="kv_code must be midrise or symmetric"):
        decoder(kv_code="minmax", kv_bits=8, bos_bits=8)
    assert decoder(ReferenceDecoder, kv_code="minmax").forward(TOKENS).shape == (3, 40, 41)


@pytest.mark.parametrize("shape", [
    ModelShape(vocab=2, hidden=1, ffn=1, layers=1, heads=1, kv_heads=1, head_dim=2, context=3),
    ModelShape(vocab=5, hidden=7, ffn=3, layers=1, heads=3, kv_heads=3, head_dim=6, context=3),
])
def test_smallest_and_odd_shapes(shape):
    for make in (ExactDecoder, ReferenceDecoder):
        logits = make(random_weights(shape, Numerics(), 1)).forward([0, 1, 1])
        assert logits.shape == (3, shape.vocab)
        assert np.isfinite(logits).all()
