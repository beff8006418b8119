# SPDX-License-Identifier: Apache-2.0
"""A token's kernels, run as C++ on this machine: the exact model's tokens and logits, ``==``."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.exact import CacheState, ExactDecoder
from golden_model.weights import random_weights
from host.backends.base import BackendError
from host.gpu.geometry import RowCut
from host.gpu.token import fused, launches, norms
from host.gpu.token.decoder import TokenDecoder
from host.gpu.token.launches import misfit
from host.model_file import load_model
from tests.host.gpu.token.emulated import SOURCES, EmulatedDevice, PlainProducts, compiler

MODEL = Path(__file__).parents[4] / "models" / "demo" / "model.safetensors"
SHAPE = ModelShape(vocab=19, hidden=14, ffn=37, layers=2, heads=4, kv_heads=2, head_dim=6,
                   context=24)
pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no g++ on this machine")


@pytest.fixture(autouse=True)
def fewer_threads(monkeypatch):
    """So that small models take several blocks, and the emulation less time."""
    monkeypatch.setattr(norms, "NORM_SHARE", 32)
    monkeypatch.setattr(norms, "NORM_THREADS", 64)
    monkeypatch.setattr(launches, "ATTEND_THREADS", 128)


def emulate(weights, window, sparse=False, **more):
    device = EmulatedDevice(**more)
    decoder = TokenDecoder(device, weights, window, PlainProducts(device), sparse)
    decoder.launches.poison(0xA5)
    return decoder


def step(decoder, golden, *tokens):
    """Read tokens on both; the logits behind the last have to be equal."""
    wanted = golden.forward(tokens)[-1]
    chosen = decoder.read(tokens)
    logits, scale = decoder.logits()
    assert np.array_equal(logits, wanted)
    assert scale == golden.logit_scale[-1]
    assert chosen == wanted.argmax()


def test_the_demo_model_over_a_wrapping_window():
    weights = load_model(MODEL)
    decoder, golden = emulate(weights, 7), ExactDecoder(weights, window=7)
    for token in (0, 17, 40, 300, 12, 12, 511, 3, 99, 7):
        step(decoder, golden, token)
    step(decoder, golden, 5, 6, 7)


NUMERICS = {
    "usual": Numerics(),
    "int8": Numerics(act_format="int8", kv_bits=8, bos_bits=8, q_bits=4, topk_keep=(1, 1)),
    "fp4": Numerics(act_format="fp4", wo_format="fp4", kv_code="symmetric", q_bits=16, p_bits=12,
                    bos_bits=8, topk_block=5, topk_key="value"),
    "four": Numerics(kv_bits=4, topk_key="value", topk_keep=(1, 3)),
    "none": Numerics(topk_keep=(0, 1), topk_block=7),
}


@pytest.mark.parametrize("numerics", NUMERICS.values(), ids=NUMERICS)
def test_formats(numerics):
    weights = random_weights(SHAPE, numerics, 3)
    decoder, golden = emulate(weights, 5), ExactDecoder(weights, window=5)
    for token in np.random.default_rng(4).integers(0, 19, 9):
        step(decoder, golden, int(token))


def test_lists_of_the_inputs_that_are_not_zero():
    weights = random_weights(SHAPE, Numerics(), 5)
    decoder, golden = emulate(weights, 24, sparse=True), ExactDecoder(weights)
    for token in range(6):
        step(decoder, golden, token)


LONG = ModelShape(vocab=23, hidden=100, ffn=70, layers=1, heads=2, kv_heads=1, head_dim=40,
                  context=700)


def test_clusters_and_a_state_from_the_exact_model():
    weights = random_weights(LONG, Numerics(), 6)
    decoder, golden = emulate(weights, 500), ExactDecoder(weights, window=500)
    assert decoder.launches._attend.ranks > 1
    decoder.read([1])
    for count in (300, 198, 120):  # ahead of the window's end, on it, behind it
        golden.forward(np.random.default_rng(count).integers(0, 23, count))
        decoder.restore(golden.state())
        step(decoder, golden, 4)
        step(decoder, golden, 9)


def _equal_outputs(keep):
    """Make a model whose heads put out one value each: many codes of Wo's input are equal."""
    weights = random_weights(SHAPE, Numerics(topk_keep=keep), 12)
    layers = []
    for layer in weights.layers:
        values = layer.matrices["wv"]
        rows = np.repeat(values.trits[:2], values.trits.shape[0] // 2, axis=0)
        same = replace(values, trits=rows)
        gains = layer.gains | {"attn_sub_norm": np.ones_like(layer.gains["attn_sub_norm"])}
        layers.append(replace(layer, matrices=layer.matrices | {"wv": same}, gains=gains))
    return replace(weights, layers=tuple(layers))


def _three(weights, changed):
    decoder, golden = emulate(weights, 24, changed=changed), ExactDecoder(weights)
    for token in (3, 1, 8):
        step(decoder, golden, token)


@pytest.mark.parametrize("keep", [(2, 5), pytest.param((1, 24), marks=pytest.mark.slow)])
def test_of_equal_codes_the_first_stay(keep):
    _three(_equal_outputs(keep), {})


@pytest.mark.slow
def test_ranks_of_equal_codes_count(tmp_path):
    shutil.copytree(SOURCES, tmp_path / "token")
    text = (SOURCES / "keep.cuh").read_text()
    old = "&& above + before + place[s][h][k] < KEEP"
    assert old in text
    (tmp_path / "token" / "keep.cuh").write_text(text.replace(old, ""))
    with pytest.raises(AssertionError):
        _three(_equal_outputs((2, 5)), {"fused_product.cu": tmp_path / "token"})


@pytest.mark.parametrize("split", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_several_chunks_of_a_warp(monkeypatch, split):
    monkeypatch.setattr(fused, "fused_cut", lambda rows, depth: RowCut(min(split, depth), 2))
    shape = ModelShape(vocab=17, hidden=300, ffn=600, layers=2, heads=54, kv_heads=2, head_dim=6,
                       context=8)
    weights = random_weights(shape, Numerics(), 11)
    decoder, golden = emulate(weights, 4), ExactDecoder(weights, window=4)
    for token in (3, 16, 0):
        step(decoder, golden, token)


def test_a_state_for_the_exact_model():
    weights = random_weights(SHAPE, Numerics(), 7)
    decoder = emulate(weights, 6)
    golden, other = ExactDecoder(weights, window=6), ExactDecoder(weights, window=6)
    for token in (0, 3, 5, 9, 18, 4, 2, 2, 11):
        step(decoder, golden, token)
        state, wanted = decoder.state(), golden.state()
        seen = [0, *range(max(1, golden.position - 5), golden.position)]
        for found, right in zip(state, wanted):
            assert np.array_equal(found[:, :, :, seen], right[:, :, :, seen])
        other.restore(state)
        assert np.array_equal(other.forward([7]), ExactDecoder.forward(_copy(golden), [7]))
    decoder.reset()
    golden.reset()
    step(decoder, golden, 8)


def _copy(golden):
    out = ExactDecoder(golden.weights, window=golden.window)
    out.restore(golden.state())
    return out


@pytest.mark.parametrize("change", [
    lambda s: s._replace(k=s.k + 1), lambda s: s._replace(v=s.v * 3),
    lambda s: s._replace(k_scale=s.k_scale * 1.0001), lambda s: s._replace(v_scale=-s.v_scale),
    lambda s: s._replace(v_scale=s.v_scale * np.nan), lambda s: s._replace(v=s.v[..., :-1]),
    lambda s: CacheState(*(x[:1] for x in s)), lambda s: CacheState(*(x[0] for x in s)),
    lambda s: CacheState(*(np.repeat(x, 9, axis=3) for x in s)),
    lambda s: CacheState(*(x[:, :, :, :0] for x in s))])
def test_states_that_cannot_be(change):
    weights = random_weights(SHAPE, Numerics(), 7)
    golden = ExactDecoder(weights)
    golden.forward([0, 5, 3])
    with pytest.raises(BackendError):
        emulate(weights, 24).restore(change(golden.state()))


def test_tokens_that_follow_without_the_host():
    weights = random_weights(SHAPE, Numerics(), 8)
    wanted = list(ExactDecoder(weights).generate([0, 5], 12))
    decoder = emulate(weights, 24)
    assert decoder.read([0, 5]) == wanted[0]
    assert decoder.run(11) == wanted[:11]
    assert decoder.read([wanted[11]]) == int(_after(weights, [0, 5, *wanted[:12]]).argmax())


def _after(weights, tokens):
    return ExactDecoder(weights).forward(tokens)[-1]


def test_equal_logits_give_the_lowest_token():
    weights = random_weights(SHAPE, Numerics(), 9)
    weights = replace(weights, embedding=np.repeat(weights.embedding[:1], 19, axis=0))
    assert emulate(weights, 24).read([4, 4]) == 0


def test_what_cannot_be_asked_for():
    decoder = emulate(random_weights(SHAPE, Numerics(), 7), 24)
    for tokens in ([], [19], [-1], [1] * 25):
        with pytest.raises(BackendError):
            decoder.read(tokens)
    with pytest.raises(BackendError):
        decoder.run(1)


@pytest.mark.parametrize(("words", "shape", "numerics", "window"), [
    ("KV codes", SHAPE, Numerics(kv_code="minmax"), 24),
    ("KV codes", SHAPE, Numerics(kv_bits=16, bos_bits=16), 24),
    ("windows", SHAPE, Numerics(), 5000), ("windows", SHAPE, Numerics(), 1),
    ("heads of 512", replace(SHAPE, head_dim=514), Numerics(), 24),
    ("vectors of 32768", replace(SHAPE, ffn=40_000), Numerics(), 24),
    ("5120 values", replace(SHAPE, heads=900), Numerics(topk_key="value"), 24)])
def test_models_beyond_the_kernels(words, shape, numerics, window):
    weights = random_weights(replace(shape, layers=1), numerics, 1)
    assert words in misfit(weights, window)
    with pytest.raises(BackendError, match=words):
        TokenDecoder(EmulatedDevice(), weights, window)


PLANTED = [
    ("attention.cu", "attention.cu", "at != slot) weigh", "true) weigh"),
    ("attention.cu", "attention.cuh", "moved & (0x01010101u << p)", "moved & (0x01010101u << 1)"),
    ("attention.cu", "new_row.cuh", "~(1u << slot % 32)", "~0u"),
    ("norm.cu", "top_k.cuh", "!reached || place >= KEEP", "!reached && place >= KEEP"),
    ("norm.cu", "norm.cu", "share(state.statistics, rank", "share(state.statistics, 0"),
    ("begin.cu", "residual.cuh", "partials[place] = squares", "partials[place] = statistic"),
    ("fused_product.cu", "residual.cuh", "NEXT_MEAN ? warp_sum", "!NEXT_MEAN ? warp_sum"),
    ("fused_product.cu", "keep.cuh", "until >= KEEP", "until > KEEP"),
    ("fused_product.cu", "sources.cuh", "k > 0 && HEAD_DIM % RUN == 0", "k > 0"),
    ("fused_product.cu", "fused_product.cu", "[blockIdx.x] = peak", "[blockIdx.x] = peak << 8"),
    ("code_words.cu", "coding.cuh", "nearest > most ? most", "nearest >= most ? most - 1"),
    ("finish.cu", "finish.cu", "(ALL - static_cast<unsigned>(index))",
     "static_cast<unsigned>(index)"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "file", "old", "new"), PLANTED)
def test_a_planted_error_is_seen(tmp_path, kernel, file, old, new):
    shutil.copytree(SOURCES, tmp_path / "token")
    text = (SOURCES / file).read_text()
    assert old in text
    (tmp_path / "token" / file).write_text(text.replace(old, new))
    shape = replace(SHAPE, hidden=40, ffn=40, layers=1)
    weights = random_weights(shape, Numerics(), 10)
    weights = replace(weights, embedding=np.repeat(weights.embedding[:7], 3, axis=0)[:19])
    sparse = kernel == "norm.cu"
    _several(weights, {}, sparse)
    with pytest.raises(AssertionError):
        _several(weights, {kernel: tmp_path / "token"}, sparse)


def _several(weights, changed, sparse):
    decoder = emulate(weights, 4, sparse, changed=changed)
    golden = ExactDecoder(weights, window=4)
    for token in (0, 3, 5, 9, 18, 4, 2, 7):
        step(decoder, golden, token)
