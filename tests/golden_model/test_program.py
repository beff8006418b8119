# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model.instruction_config import FIELDS, INSTRUCTION_BITS, OPCODE_BITS, OPCODES
from golden_model.program import Instruction, decode, disassemble, encode

HEAD = {"address": 0x1234, "beats": 3, "vocab": 512, "scale": 0x8000FF}


@st.composite
def instructions(draw):
    name = draw(st.sampled_from(sorted(FIELDS)))
    return Instruction(name, {field: draw(st.integers(0, (1 << bits) - 1))
                              for field, bits in FIELDS[name].items()})


@given(instructions())
def test_bits_stand_for_one_instruction(instruction):
    word = encode(instruction)
    assert 0 <= word < 1 << INSTRUCTION_BITS
    assert decode(word) == instruction


def test_every_instruction_fits():
    assert len(OPCODES) <= 1 << OPCODE_BITS
    assert max(OPCODE_BITS + sum(fields.values()) for fields in FIELDS.values()) <= INSTRUCTION_BITS


def test_bits_are_pinned():
    assert encode(Instruction("end")) == 0
    head = Instruction("head", HEAD)
    assert encode(head) == 6 | 0x1234 << 4 | 3 << 36 | 512 << 68 | 0x8000FF << 92
    assert disassemble([head, Instruction("end")]) == [
        "   0  head         address=0x1234 beats=3 vocab=0x200 scale=0x8000ff",
        "   1  end          "]


@pytest.mark.parametrize(("name", "fields", "message"), [
    ("jump", {}, "there is no instruction 'jump'"),
    ("head", {"vocab": 1}, "head has the fields address, beats, vocab, scale, not vocab"),
    ("head", {**HEAD, "vocab": 1 << 24}, r"head.vocab must lie in 0..16777215, not 16777216"),
    ("head", {**HEAD, "vocab": -1}, r"head.vocab must lie in 0..16777215, not -1"),
])
def test_what_is_no_instruction_is_refused(name, fields, message):
    with pytest.raises(ValueError, match=message):
        Instruction(name, fields)


@pytest.mark.parametrize(("word", "message"), [
    (15, "opcode 15 is no instruction"),
    (1 << 4, "end has bits behind its last field"),
    (1 << INSTRUCTION_BITS | 6, "head has bits behind its last field"),
])
def test_bits_that_stand_for_nothing_are_refused(word, message):
    with pytest.raises(ValueError, match=message):
        decode(word)
