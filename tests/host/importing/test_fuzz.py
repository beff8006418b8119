# SPDX-License-Identifier: Apache-2.0
"""Changed bytes anywhere: a reader answers, or refuses with one sentence, at once."""

import struct
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.errors import UserError
from host.importing.build import import_model, open_source
from host.importing.gguf_reader import read_gguf
from host.importing.safetensors_reader import read_safetensors
from tests.host.importing import writers
from tests.host.importing.harness import PAIR, hugging_face, info, key, raw_header, tensor_file
from tests.host.importing.writers import WIDE, entries_of, model

SMALL_GGUF = tensor_file(
    info(), info(b"q", dims=(256,), kind=35, offset=32),
    keys=key("a", 1) + key("tokens", ["x", "yz"]) + key("e", 1.5), n_keys=3,
    data=bytes(32) + bytes(96))
SMALL_SAFETENSORS = raw_header(PAIR.format(4, 8), bytes(8))


@st.composite
def mutated(draw, raw):
    """`raw` with a few bytes or words replaced, a piece cut out, or one repeated."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        piece = draw(st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from([struct.pack("<Q", n) for n in (0, 1, 1 << 31, 1 << 62, 1 << 63,
                                                            (1 << 64) - 1)])))
        match draw(st.sampled_from(["replace", "insert", "cut"])):
            case "replace":
                data[place:place + len(piece)] = piece
            case "insert":
                data[place:place] = piece
            case "cut":
                del data[place:place + len(piece)]
    return bytes(data)


def survives(read, path, raw):
    path.write_bytes(raw)
    start = time.process_time()
    with suppress(UserError):
        read(path)
    assert time.process_time() - start < 1


FUZZ = settings(max_examples=200, deadline=None,
                suppress_health_check=[HealthCheck.function_scoped_fixture])


@FUZZ
@given(raw=st.one_of(mutated(SMALL_GGUF), st.binary(max_size=200).map(lambda b: b"GGUF" + b)))
def test_fuzzed_gguf(tmp_path, raw):
    survives(read_gguf, tmp_path / "m.gguf", raw)


@FUZZ
@given(raw=st.one_of(mutated(SMALL_SAFETENSORS), st.binary(max_size=200),
                     st.text(max_size=100).map(raw_header)))
def test_fuzzed_safetensors(tmp_path, raw):
    survives(read_safetensors, tmp_path / "m.safetensors", raw)


WHOLE_GGUF = writers.gguf_bytes(*writers.gguf_of(model(WIDE), "TQ1_0"))
WHOLE_SAFETENSORS = writers.safetensors_bytes(entries_of(model()))


@settings(FUZZ, max_examples=60)
@given(raw=mutated(WHOLE_SAFETENSORS))
def test_fuzzed_checkpoints(tmp_path, raw):
    """A changed gain is a model too; whatever else is refused."""
    path = hugging_face(tmp_path / "m")
    (path / "model.safetensors").write_bytes(raw)
    with suppress(UserError):
        import_model(open_source(path), "a48")


@settings(FUZZ, max_examples=30)
@given(raw=mutated(WHOLE_GGUF))
def test_fuzzed_gguf_checkpoints(tmp_path, raw):
    path = tmp_path / "m.gguf"
    path.write_bytes(raw)
    with suppress(UserError):
        import_model(open_source(path), "a48", residual_frac=16)


@pytest.mark.slow
@settings(FUZZ, max_examples=5_000)
@given(raw=st.one_of(mutated(SMALL_GGUF), mutated(SMALL_SAFETENSORS)))
def test_fuzzed_for_longer(tmp_path, raw):
    survives(read_gguf, tmp_path / "m.gguf", raw)
    survives(read_safetensors, tmp_path / "m.safetensors", raw)
