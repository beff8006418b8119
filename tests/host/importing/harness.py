# SPDX-License-Identifier: Apache-2.0
"""How a refusal has to look, and pieces of files that lie (for tests)."""

import json
import resource
import struct
import time

import pytest

from host.errors import UserError
from host.importing.build import import_model, open_source
from tests.host.importing import writers
from tests.host.importing.writers import SHAPE, config_of, entries_of, model

__all__ = ["PAIR", "array", "gguf_header", "hugging_face", "info", "key", "many", "one",
           "raw_header", "refused", "tensor_file"]

SECONDS = 5
MEBIBYTES = 128


def refused(path):
    """Sentence with which a checkpoint is refused, after checking its form and cost."""
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(UserError) as error:
        import_model(open_source(path), "a48", residual_frac=16)
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEBIBYTES << 10
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert len(text) < len(str(path)) + 400
    return text


def hugging_face(path, raw=None, config=None):
    path.mkdir(exist_ok=True)
    raw = writers.safetensors_bytes(entries_of(model())) if raw is None else raw
    (path / "model.safetensors").write_bytes(raw)
    config = config_of(SHAPE) if config is None else config
    (path / "config.json").write_bytes(config if isinstance(config, bytes) else
                                       json.dumps(config).encode())
    return path


def raw_header(text, data=b""):
    text = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(text)) + text + data


def one(dtype="F32", shape="[1]", offsets="[0,4]", name="a"):
    return f'{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}'


def many(count):
    return "{" + ",".join(f'"t{i}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{i + 1}]}}'
                          for i in range(count)) + "}"


PAIR = ('{{"a":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}},'
        '"b":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}}}')


def gguf_header(keys=b"", tensors=b"", n_keys=None, n_tensors=None, magic=b"GGUF", version=3):
    return magic + struct.pack("<IQQ", version, n_tensors or 0, n_keys or 0) + keys + tensors


def key(name, value):
    return writers.gguf_string(name) + writers.gguf_value(value)


def array(kind, length, data=b""):
    return struct.pack("<IIQ", 9, kind, length) + data


def info(name=b"t", dims=(4,), kind=0, offset=0, count=None):
    count = len(dims) if count is None else count
    return writers.gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", count, *dims, kind, offset)


def tensor_file(*infos, keys=b"", n_keys=0, data=bytes(64)):
    head = gguf_header(keys, b"".join(infos), n_keys, len(infos))
    return head + bytes(-len(head) % 32) + data
