# SPDX-License-Identifier: Apache-2.0
"""Packed models: a round trip, the shipped model, and files that lie."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load, save

from golden_model.config import ModelShape, Numerics
from golden_model.weights import random_weights
from host.model_file import ModelFileError, load_model, save_model

SHAPE = ModelShape(vocab=7, hidden=6, ffn=10, layers=2, heads=3, kv_heads=1, head_dim=2, context=16)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, random_weights(SHAPE, Numerics(kv_bits=4), seed=5))
    return path


def metadata_of(raw):
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8:8 + length])["__metadata__"]


def rewrite(path, change=lambda tensors: None, **metadata):
    raw = path.read_bytes()
    tensors = {name: tensor.copy() for name, tensor in load(raw).items()}
    change(tensors)
    path.write_bytes(save(tensors, metadata_of(raw) | metadata))


def test_round_trip(path):
    weights, again = random_weights(SHAPE, Numerics(kv_bits=4), seed=5), load_model(path)
    assert again.shape == SHAPE
    assert again.numerics == Numerics(kv_bits=4)
    assert again.residual_frac == weights.residual_frac
    assert np.array_equal(again.embedding, weights.embedding)
    assert again.embedding_scale == np.float32(weights.embedding_scale)
    for one, two in zip(weights.layers, again.layers, strict=True):
        for name, matrix in one.matrices.items():
            assert np.array_equal(matrix.trits, two.matrices[name].trits), name
            assert np.float32(matrix.scale) == two.matrices[name].scale
        for name, gain in one.gains.items():
            assert np.array_equal(gain.astype(np.float32), two.gains[name]), name


def test_saving_twice_gives_the_same_bytes(path, tmp_path):
    second = tmp_path / "second.safetensors"
    save_model(second, load_model(path))
    assert second.read_bytes() == path.read_bytes()
    assert [p.name for p in tmp_path.glob("*.partial")] == []


@pytest.mark.parametrize(("change", "metadata", "message"), [
    (lambda t: t.pop("layers.1.up.trits"), {}, "'layers.1.up.trits' is missing"),
    (lambda t: t.update(extra=np.zeros(1, np.float32)), {}, "'extra' does not belong"),
    (lambda t: t["layers.0.wq.trits"].fill(243), {}, "243"),
    (lambda t: t["layers.0.wo.scale"].fill(np.nan), {}, "not finite"),
    (lambda t: t["layers.0.wo.scale"].fill(-1), {}, "not a positive"),
    (lambda t: t["embedding.scale"].fill(0), {}, "not a positive"),
    (lambda t: t["final_norm.gain"].fill(np.inf), {}, "not finite"),
    (lambda t: t.update({"final_norm.gain": np.ones(5, np.float32)}), {}, r"float32\[6\]"),
    (lambda t: t.update({"final_norm.gain": np.ones(6, np.float64)}), {}, "float64"),
    (lambda t: None, {"format": "other"}, "'other'"),
    (lambda t: None, {"shape": "{}"}, "vocab"),
    (lambda t: None, {"shape": "[]"}, "metadata"),
    (lambda t: None, {"numerics": '{"kv_bits": 5}'}, "kv_bits must be one of"),
    (lambda t: None, {"numerics": "[1]"}, "metadata"),
    (lambda t: None, {"residual_frac": "x"}, "metadata"),
    (lambda t: None, {"residual_frac": "99"}, "residual_frac"),
])
def test_a_lying_file_is_refused_by_name(path, change, metadata, message):
    rewrite(path, change, **metadata)
    with pytest.raises(ModelFileError, match=message) as error:
        load_model(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("raw", [
    b"", b"1234567", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 2) + b"[]",
    struct.pack("<Q", 4) + b"\xff\xff\xff\xff", struct.pack("<Q", 100_000) + b"[" * 100_000,
    struct.pack("<Q", 15) + b'{"a":1, "a":2} ', b"PK\x03\x04" + bytes(64),
], ids=["empty", "short", "huge_header", "list", "utf8", "nested", "twice", "zip"])
def test_no_safetensors_at_all(tmp_path, raw):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(raw)
    with pytest.raises(ModelFileError):
        load_model(path)


def test_every_truncation_is_refused(path):
    raw = path.read_bytes()
    for length in range(0, len(raw), 61):
        path.write_bytes(raw[:length])
        with pytest.raises(ModelFileError):
            load_model(path)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(ModelFileError, match="No such file"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(ModelFileError, match="not a regular file"):
        load_model(tmp_path)
