# SPDX-License-Identifier: Apache-2.0
"""GGUF files that lie: one sentence, exit code 2, nothing written, in bounded time and memory."""

import struct

import numpy as np
import pytest

from tests.host.importing import writers
from tests.host.importing.harness import (
    array,
    gguf_header,
    hugging_face,
    info,
    key,
    one,
    raw_header,
    refused,
    tensor_file,
)
from tests.host.importing.writers import WIDE, entries_of, model

GGUF = {
    "empty": b"", "magic only": b"GGUF", "magic": gguf_header(magic=b"GGML"),
    "version": gguf_header(version=1), "big-endian": gguf_header(version=3 << 24),
    "2^63 keys": gguf_header(n_keys=1 << 63), "2^63 tensors": gguf_header(n_tensors=1 << 63),
    "keys that are not there": gguf_header(n_keys=60_000),
    "tensors that are not there": gguf_header(n_tensors=60_000),
    "array of 2^63": gguf_header(key("a", array(4, 1 << 63)), n_keys=1),
    "array of 2^63 strings": gguf_header(key("a", array(8, 1 << 63)), n_keys=1),
    "array of 2^61 strings": gguf_header(key("a", array(8, 1 << 61)), n_keys=1),
    "array of arrays": gguf_header(key("a", array(9, 1, array(9, 1 << 20))), n_keys=1),
    "array of nothing known": gguf_header(key("a", array(99, 1)), n_keys=1),
    "string of 2^62": gguf_header(key("a", struct.pack("<IQ", 8, 1 << 62)), n_keys=1),
    "string of 2^62 in an array": gguf_header(
        key("a", array(8, 1, struct.pack("<Q", 1 << 62))), n_keys=1),
    "key of 2^62": gguf_header(struct.pack("<Q", 1 << 62), n_keys=1),
    "key not UTF-8": gguf_header(key(b"\xff", 1), n_keys=1),
    "empty key": gguf_header(key("", 1), n_keys=1),
    "a key twice": gguf_header(key("a", 1) * 2, n_keys=2),
    "unknown type": gguf_header(key("a", struct.pack("<I", 77)), n_keys=1),
    "alignment 0": tensor_file(info(), keys=key("general.alignment", 0), n_keys=1),
    "alignment 3": tensor_file(info(), keys=key("general.alignment", 3), n_keys=1),
    "alignment 2^30": tensor_file(info(), keys=key("general.alignment", 1 << 30), n_keys=1),
    "alignment is text": tensor_file(info(), keys=key("general.alignment", "32"), n_keys=1),
    "10^6 dimensions": tensor_file(info(count=1_000_000)),
    "no dimension": tensor_file(info(dims=())),
    "dimension 0": tensor_file(info(dims=(0,))),
    "dimension 2^63": tensor_file(info(dims=(1 << 63,))),
    "product wraps": tensor_file(info(dims=(1 << 32, 1 << 32))),
    "unknown tensor type": tensor_file(info(kind=14)),
    "removed tensor type": tensor_file(info(kind=4)),
    "offset 2^63": tensor_file(info(offset=1 << 63)),
    "offset not aligned": tensor_file(info(offset=4)),
    "overlap": tensor_file(info(), info(b"u")),
    "hole": tensor_file(info(offset=64), data=bytes(96)),
    "trailing": tensor_file(info(), data=bytes(128)),
    "cut off": tensor_file(info(dims=(64,)), data=bytes(128)),
    "a tensor twice": tensor_file(info(), info(offset=32)),
    "name with NUL": tensor_file(info(b"a\0b")),
    "name of 1 MB": tensor_file(info(b"a" * (1 << 20))),
    "TQ rows": tensor_file(info(dims=(255,), kind=35)),
    "I2_S count": tensor_file(info(dims=(3,), kind=36)),
    "no architecture": tensor_file(info(), data=bytes(32)),
    "llama": gguf_header(key("general.architecture", "llama"), n_keys=1) + bytes(32),
}


@pytest.mark.parametrize("raw", GGUF.values(), ids=GGUF)
def test_gguf(tmp_path, raw):
    path = tmp_path / "m.gguf"
    path.write_bytes(raw)
    refused(path)


def test_strings_without_end(tmp_path):
    """Empty strings are the most that bytes can announce: 8 bytes each."""
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_header(key("a", array(8, 3 << 20)) + bytes(24 << 20), n_keys=1))
    assert "strings" in refused(path)


GGUF_CONTENT = {
    "NaN scale": (lambda m, t: t.update(q("TQ2_0", np.nan)), "not finite"),
    "no scale": (lambda m, t: t.update(q("TQ2_0", 0.0)), "not a positive"),
    "negative scale": (lambda m, t: t.update(q("TQ1_0", -1.0)), "not a positive"),
    "I2_S scale": (lambda m, t: t.update(q("I2_S", np.inf)), "not finite"),
    "two scales": (lambda m, t: t.update(q("TQ2_0", 1.0, second=2.0)), "a packed matrix has one"),
    "zeros": (lambda m, t: t.update(q("TQ2_0", 1.0, trits=0)), "nothing but zeros"),
    "shape": (lambda m, t: t.update({"blk.0.attn_q.weight": ("I2_S", [512, 128], bytes(16416))}),
              "is I2_S[128, 512], not [256, 256]"),
    "missing": (lambda m, t: t.pop("blk.0.attn_sub_norm.weight"), "is missing"),
    "too many": (lambda m, t: t.update({"rope_freqs.weight": ("F32", [8], bytes(32))}), "no place"),
    "scaled angles": (lambda m, t: m.update({"bitnet-b1.58.rope.scaling.type": "yarn"}), "scaled"),
    "factor": (lambda m, t: m.update({"bitnet-b1.58.rope.scaling.type": "linear",
                                      "bitnet-b1.58.rope.scaling.factor": 2.0}), "scaled"),
    "heads by layer": (lambda m, t: m.update({"bitnet-b1.58.attention.head_count_kv": ["1"]}),
                       "differs between layers"),
    "key width": (lambda m, t: m.update({"bitnet-b1.58.attention.key_length": 32}), "turn"),
    "theta": (lambda m, t: m.update({"bitnet-b1.58.rope.freq_base": np.inf}), "finite float"),
    "a number": (lambda m, t: m.update({"bitnet-b1.58.block_count": "1"}), "positive integer"),
    "architecture": (lambda m, t: m.update({"general.architecture": "bitnet"}), "squared ReLU"),
}


def q(kind, scale, second=None, trits=1):
    block = np.full(256 * 256, trits, np.int8)
    raw = writers.PACKERS[kind](block, scale)
    if second is not None:
        half = len(raw) // 2
        raw = raw[:half] + writers.PACKERS[kind](block, second)[half:]
    return {"blk.0.attn_q.weight": (kind, [256, 256], raw)}


@pytest.mark.parametrize(("change", "words"), GGUF_CONTENT.values(), ids=GGUF_CONTENT)
def test_gguf_contents(tmp_path, change, words):
    metadata, tensors = writers.gguf_of(model(WIDE), "I2_S")
    change(metadata, tensors)
    path = tmp_path / "m.gguf"
    path.write_bytes(writers.gguf_bytes(metadata, tensors))
    assert words in refused(path)


def test_every_truncation(tmp_path):
    raw = writers.safetensors_bytes(entries_of(model()))
    path = hugging_face(tmp_path / "m")
    for length in [*range(0, 128), *range(128, len(raw), 613), len(raw) - 1]:
        (path / "model.safetensors").write_bytes(raw[:length])
        refused(path)
    raw = writers.gguf_bytes(*writers.gguf_of(model(WIDE), "TQ1_0"))
    path = tmp_path / "m.gguf"
    for length in [*range(0, 3000, 7), *range(3000, len(raw), 10_007), len(raw) - 33]:
        path.write_bytes(raw[:length])
        refused(path)


def test_the_command_ends_with_2_and_writes_nothing(tmp_path, tritforge):
    hugging_face(tmp_path / "m", raw_header(one(), bytes(3)))
    (tmp_path / "m.gguf").write_bytes(GGUF["array of 2^63"])
    for name in ("m", "m.gguf", "none"):
        run = tritforge("import", name, "-o", "out.safetensors", "--json")
        assert run.code == 2
        assert len(run.document["error"]["messages"]) == 1
        assert "Traceback" not in run.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "m.gguf"]
