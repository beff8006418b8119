# SPDX-License-Identifier: Apache-2.0
"""Directories that lie: one sentence, exit code 2, nothing written, in bounded time and memory."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from host.errors import UserError
from host.importing.build import open_source
from tests.host.importing import writers
from tests.host.importing.harness import PAIR, hugging_face, many, one, raw_header, refused
from tests.host.importing.writers import SHAPE, config_of, entries_of, f32, model

Q = "model.layers.0.self_attn.q_proj"

SAFETENSORS = {
    "empty": (b"", "too few"),
    "seven bytes": (b"1234567", "too few"),
    "header of 0": (bytes(16), "not a safetensors file"),
    "header of 2^63": (struct.pack("<Q", 1 << 63) + b"{}", "not a safetensors file"),
    "header beyond the file": (struct.pack("<Q", 99) + b"{}", "not a safetensors file"),
    "huge header": (raw_header(b" " * (16 << 20) + b"{}"), "is the most"),
    "not UTF-8": (raw_header(b"\xff\xfe\xff\xfe"), "not JSON"),
    "a list": (raw_header("[]"), "not a JSON object"),
    "nested": (raw_header("[" * 100_000), "nested too deeply"),
    "nested objects": (raw_header('{"a":' * 100_000), "nested too deeply"),
    "NaN": (raw_header('{"a":NaN}'), "NaN"),
    "digits": (raw_header(one(offsets="[0," + "9" * 10_000 + "]")), "not JSON"),
    "a key twice": (raw_header(one()[:-1] + "," + one()[1:], bytes(4)), "twice"),
    "no tensor": (raw_header("{}"), "no tensor"),
    "metadata": (raw_header('{"__metadata__":[]}'), "metadata"),
    "overlap": (raw_header(PAIR.format(2, 6), bytes(6)), "overlaps"),
    "alias": (raw_header(PAIR.format(0, 4), bytes(4)), "overlaps"),
    "hole": (raw_header(PAIR.format(8, 12), bytes(12)), "belong to none"),
    "trailing": (raw_header(one(), bytes(5)), "belong to none"),
    "cut off": (raw_header(one(), bytes(3)), "cut off"),
    "begin after end": (raw_header(one(offsets="[4,0]"), bytes(4)), "no range"),
    "far away": (raw_header(one(offsets=f"[{1 << 62},{(1 << 62) + 4}]"), bytes(4)), "belong"),
    "negative": (raw_header(one(shape="[-1]"), bytes(4)), "dimension of '-1'"),
    "fraction": (raw_header(one(shape="[1.0]"), bytes(4)), "dimension"),
    "bool": (raw_header(one(shape="[true]"), bytes(4)), "dimension"),
    "empty tensor": (raw_header(one(shape="[0]", offsets="[0,0]")), "dimension of '0'"),
    "wraps 2^64": (raw_header(one(shape="[4194305,4194305,211106198978564]"), bytes(4)), "takes"),
    "dimensions": (raw_header(one(shape="[" + "1," * 999_999 + "1]"), bytes(4)), "1000000 dim"),
    "unknown type": (raw_header(one(dtype="F8_E4M3"), bytes(4)), "unknown type"),
    "type of types": (raw_header(one().replace('"F32"', '["F32"]'), bytes(4)), "unknown type"),
    "fields": (raw_header('{"a":{"dtype":"F32"}}'), "described"),
    "no fields": (raw_header('{"a":1}'), "described"),
    "offsets": (raw_header(one(offsets='["0","4"]'), bytes(4)), "no range"),
    "many tensors": (raw_header(many(100_000), bytes(100_000)), "tensors"),
    "long name": (raw_header(one(name="x" * (1 << 20)), bytes(4)), "no name"),
    "NUL in a name": (raw_header(one(name="a\\u0000b"), bytes(4)), "no name"),
    "path as a name": (raw_header(one(name="../../a"), bytes(4)), "is missing"),
    "pickle": (pickle.dumps({"model": [1.0] * 50}), "not a safetensors file"),
}


def zip_bytes():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))
    return out.getvalue()


@pytest.mark.parametrize(("raw", "words"), SAFETENSORS.values(), ids=SAFETENSORS)
def test_safetensors(tmp_path, raw, words):
    assert words in refused(hugging_face(tmp_path / "m", raw))


def test_a_million_tensors(tmp_path):
    text = refused(hugging_face(tmp_path / "m", raw_header(many(1_000_000), bytes(1_000_000))))
    assert "is the most" in text


def test_a_zip_by_any_name(tmp_path):
    assert "not a safetensors file" in refused(hugging_face(tmp_path / "m", zip_bytes()))
    for name in ("m.gguf", "m.bin", "m.pt"):
        (tmp_path / name).write_bytes(zip_bytes())
        assert "not a GGUF file" in refused(tmp_path / name)
        (tmp_path / name).write_bytes(pickle.dumps([1] * 100))
        assert "not a GGUF file" in refused(tmp_path / name)


def changed(**tensors):
    return {**entries_of(model()), **{name.replace("__", "."): t for name, t in tensors.items()}}


def without(*names):
    return {name: entry for name, entry in entries_of(model()).items() if name not in names}


PACKED = ("U8", [6, 24])
CONTENT = {
    **{f"scale {value}": ({f"{Q}.weight_scale": f32([value])}, "not a positive normal number")
       for value in (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-40)},
    "scales": ({f"{Q}.weight_scale": f32([1.0, 2.0])}, "not one float"),
    "code 3": ({f"{Q}.weight": (*PACKED, b"\x03" * 144)}, "code 3 stands for no trit"),
    "shape": ({f"{Q}.weight": ("U8", [24, 6], bytes(144))}, "not [6, 24]"),
    "type": ({f"{Q}.weight": ("I8", [24, 24], bytes(576))}, "not of type F32 or F16 or BF16"),
    "NaN gain": ({"model.norm.weight": f32([np.nan] * 24)}, "not finite"),
    "short gain": ({"model.norm.weight": f32([1.0] * 23)}, "[24]"),
    "NaN embedding": ({"model.embed_tokens.weight": f32(np.full((37, 24), np.nan))}, "not finite"),
    "zero embedding": ({"model.embed_tokens.weight": f32(np.zeros((37, 24)))}, "zeros"),
    "small embedding": ({"model.embed_tokens.weight": f32(np.zeros((36, 24)))}, "[37, 24]"),
    "untied head": ({"lm_head.weight": f32(np.ones((37, 24)))}, "LM head differs"),
    "bias": ({f"{Q}.bias": f32([0.0] * 24)}, "no bias"),
    "both norms": ({"model.layers.0.self_attn.inner_attn_ln.weight": f32([1.0] * 24)}, "no place"),
    "a third layer": ({"model.layers.2.input_layernorm.weight": f32([1.0] * 24)}, "no place"),
    "not trits": ({f"{Q}.weight": f32(np.full((24, 24), 0.5))}, "other values"),
}


@pytest.mark.parametrize(("tensors", "words"), CONTENT.values(), ids=CONTENT)
def test_contents(tmp_path, tensors, words):
    raw = writers.safetensors_bytes({**entries_of(model()), **tensors})
    assert words in refused(hugging_face(tmp_path / "m", raw))


@pytest.mark.parametrize(("name", "words"), [
    (f"{Q}.weight", "is missing"), ("model.norm.weight", "is missing"),
    ("model.embed_tokens.weight", "is missing"),
    ("model.layers.1.self_attn.attn_sub_norm.weight", "no norm ahead of Wo"),
    ("model.layers.0.mlp.ffn_sub_norm.weight", "no norm ahead of Wdown"),
])
def test_missing_tensors(tmp_path, name, words):
    raw = writers.safetensors_bytes(without(name))
    assert words in refused(hugging_face(tmp_path / "m", raw))


CONFIGS = {
    "activation": ({"hidden_act": "silu"}, "relu2 and nothing else"),
    "architecture": ({"architectures": ["MixtralForCausalLM"]}, "BitNetForCausalLM"),
    "architectures": ({"architectures": [["a"]]}, "what is read"),
    "bias": ({"attention_bias": True}, "no bias"),
    "second norm": ({"quantization_config": {"quant_method": "bitnet", "use_rms_norm": True}},
                    "second norm"),
    "quantiser": ({"quantization_config": {"quant_method": "gptq"}}, "not 'bitnet'"),
    "linear": ({"quantization_config": {"linear_class": 7}}, "neither"),
    "a list": ({"quantization_config": [1]}, "must be an object"),
    "scaled angles": ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "not scaled"),
    "no angles": ({"rope_theta": ...}, "rope_theta must be a number"),
    "infinite": ({"rms_norm_eps": 10**400}, "must be a number"),
    "hidden": ({"hidden_size": 28, "head_dim": 6}, "is BF16[37, 24], not [37, 28]"),
    "odd heads": ({"head_dim": 5}, "head_dim must be even"),
    "heads": ({"num_key_value_heads": 3}, "multiple of kv_heads"),
    "layers": ({"num_hidden_layers": 1_000_000}, "1024 is the most"),
    "a layer more": ({"num_hidden_layers": 3}, "is missing"),
    "a layer less": ({"num_hidden_layers": 1}, "no place"),
    "vocabulary": ({"vocab_size": 1 << 30}, "not [1073741824, 24]"),
    "width": ({"hidden_size": 1 << 30}, "must stay within"),
    "no shape": ({"vocab_size": ...}, "vocab_size must be a positive integer"),
    "fraction": ({"intermediate_size": 1.5}, "intermediate_size must be a positive"),
    "bool": ({"num_hidden_layers": True}, "must be a positive"),
}


@pytest.mark.parametrize(("changes", "words"), CONFIGS.values(), ids=CONFIGS)
def test_configurations(tmp_path, changes, words):
    text = refused(hugging_face(tmp_path / "m", config=config_of(SHAPE, **changes)))
    assert words in text


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"a":1,"a":2}', b"[" * 100_000,
                                 b" " * (1 << 21)])
def test_configurations_that_are_none(tmp_path, raw):
    refused(hugging_face(tmp_path / "m", config=raw))


@pytest.mark.parametrize("index", [
    {"weight_map": {}}, {"weight_map": []}, {}, {"weight_map": {"a": "../b.safetensors"}},
    {"weight_map": {"a": ".."}}, {"weight_map": {"a": 1}}, {"weight_map": {"a": "b\0"}},
    {"weight_map": {"a": "none.safetensors"}},
    {"weight_map": {f"t{i}": f"{i}.safetensors" for i in range(600)}},
])
def test_indices(tmp_path, index):
    path = hugging_face(tmp_path / "m")
    (path / "model.safetensors").rename(path / "shard.safetensors")
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(path)


def test_places_that_are_no_files(tmp_path):
    assert "No such file" in refused(tmp_path / "none")
    assert "config.json: No such file" in refused(tmp_path)
    os.mkfifo(tmp_path / "fifo.gguf")
    assert "not a regular file" in refused(tmp_path / "fifo.gguf")
    path = hugging_face(tmp_path / "m")
    (path / "config.json").unlink()
    os.mkfifo(path / "config.json")
    with pytest.raises(UserError, match="not a regular file"):
        open_source(path)
    path = hugging_face(tmp_path / "n")
    (path / "model.safetensors").unlink()
    assert "neither" in refused(path)
    (path / "model.safetensors").mkdir()
    with pytest.raises(UserError, match="not a regular file"):
        open_source(path)
    with pytest.raises(UserError, match="give the directory"):
        open_source(path / "model.safetensors" / "x.safetensors")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_no_permission(tmp_path):
    path = hugging_face(tmp_path / "m")
    (path / "model.safetensors").chmod(0)
    assert "Permission denied" in refused(path)
