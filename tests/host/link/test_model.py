# SPDX-License-Identifier: Apache-2.0
"""The modelled registers: queues, settings, errors, saving and restoring."""

import pytest

from golden_model.exact import ExactDecoder
from golden_model.registers import ERRORS, REGISTERS, register
from host.backends.cpu import CpuBackend
from host.link.device import BusError
from host.link.model import Geometry, RegisterModel
from tests.host.link.harness import HASH, SHAPE, WEIGHTS


def fresh(queue=4):
    backend = CpuBackend()
    backend.load(WEIGHTS, SHAPE.context)
    return RegisterModel(backend, Geometry(config_hash=HASH, window=SHAPE.context,
                                           vocab=SHAPE.vocab, context=SHAPE.context, queue=queue))


def read(model, name):
    return model.read(register(name).offset)


def write(model, name, word):
    model.write(register(name).offset, word)


def errors(model):
    return [name for bit, (name, _) in enumerate(ERRORS) if read(model, "errors") >> bit & 1]


def start(model, prompt, generate, stop=None):
    write(model, "prompt_count", len(prompt))
    write(model, "generate_count", generate)
    write(model, "stop_token", 0 if stop is None else stop | 1 << 31)
    write(model, "control", 1)
    for token in prompt:
        write(model, "prompt_token", token)
        model.tick()


def generated(model):
    tokens = []
    while not read(model, "status") & 1 or read(model, "levels") >> 16:
        model.tick()
        while read(model, "levels") >> 16:
            tokens.append(read(model, "generated_token"))
    return tokens


def test_a_free_run_gives_the_golden_tokens_and_marks_the_last():
    model = fresh()
    start(model, [0, 7, 3], 9)
    words = generated(model)
    assert [word & 0xFFFFFF for word in words] == list(ExactDecoder(WEIGHTS).generate([0, 7, 3], 9))
    assert [word >> 30 for word in words] == [2] * 8 + [3]
    assert read(model, "position") == 3 + 8
    assert read(model, "count_tokens") == 11
    assert errors(model) == []


def test_a_stop_token_ends_the_run():
    tokens = list(ExactDecoder(WEIGHTS).generate([0, 7, 3], 9))
    stop = tokens[3]
    model = fresh()
    start(model, [0, 7, 3], 9, stop)
    assert [word & 0xFFFFFF for word in generated(model)] == tokens[:tokens.index(stop) + 1]


def test_what_goes_wrong_is_reported_and_cleared():
    model = fresh(queue=2)
    read(model, "generated_token")
    read(model, "kv_save_data")
    write(model, "kv_restore_data", 1)
    for token in range(3):
        write(model, "prompt_token", token)
    assert errors(model) == ["prompt_overflow", "generated_underflow", "restore_overflow",
                             "save_underflow"]
    write(model, "errors", 0xFFFFFFFF)
    assert errors(model) == []
    write(model, "control", 4)
    start(model, [SHAPE.vocab], 1)
    assert errors(model) == ["token_range"]
    assert read(model, "status") & 1


def test_the_cache_ends_with_the_context():
    model = fresh(queue=32)
    start(model, [1] * SHAPE.context, 2)
    model.tick()
    assert errors(model) == ["kv_capacity"]


def test_a_saved_sequence_goes_on():
    model = fresh()
    start(model, [0, 7, 3], 4)
    first = generated(model)
    write(model, "kv_control", 2)
    words = [read(model, "kv_save_data") for _ in range(read(model, "kv_words"))]
    assert read(model, "kv_words") == 0
    other = fresh()
    write(other, "kv_control", 4)
    for done, word in enumerate(words):
        assert read(other, "status") >> 7 & 1
        if done:
            assert read(other, "kv_words") == len(words) - done
        write(other, "kv_restore_data", word)
    assert read(other, "position") == read(model, "position") == 6
    for each in (model, other):
        start(each, [first[-1] & 0xFFFFFF], 5)
    assert generated(other) == generated(model)
    write(other, "kv_control", 1)
    assert read(other, "position") == 0


@pytest.mark.parametrize("words", [[0], [3], [1 << 31], [8, 5, 123], [40, *range(10)]])
def test_a_sequence_that_was_never_saved_is_refused(words):
    model = fresh()
    write(model, "kv_control", 4)
    for word in words:
        write(model, "kv_restore_data", word)
    assert errors(model)[0] in ("kv_never_written", "restore_overflow")
    assert read(model, "position") == 0


def test_every_register_has_an_answer():
    model = fresh()
    for one in REGISTERS:
        word = model.read(one.offset)
        assert 0 <= word < 1 << 32
        assert not word & ~one.mask or one.kind == "pop", one.name
        if one.kind == "setting":
            model.write(one.offset, 0xFFFFFFFF)
            assert model.read(one.offset) == one.mask
        if one.kind == "constant":
            model.write(one.offset, 0)
            assert model.read(one.offset) == word
    assert model.read(0x01C + 4 * 200) == 0
    for address in (2, 1 << 12, -4):
        with pytest.raises(BusError):
            model.read(address)
        with pytest.raises(BusError):
            model.write(address, 0)
