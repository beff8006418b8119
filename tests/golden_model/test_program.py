# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden_model.instruction_config import FIELDS, INSTRUCTION_BITS, OPCODE_BITS, OPCODES
from golden_model.program import Instruction, decode, disassemble, encode


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
    head = Instruction("head", {"address": 0x1234, "blocks": 3, "tiles": 2, "vocab": 512,
                                "scale": 0x8000FF})
    assert encode(head) == (7 | 0x1234 << 4 | 3 << 36 | 2 << 56 | 512 << 68 | 0x8000FF << 88)
    assert disassemble([head, Instruction("end")]) == [
        "   0  head         address=0x1234 blocks=3 tiles=2 vocab=0x200 scale=0x8000ff",
        "   1  end          "]


@pytest.mark.parametrize(("name", "fields", "message"), [
    ("jump", {}, "there is no instruction 'jump'"),
    ("attend", {"layer": 1}, "attend has the fields layer, score_scale, not layer"),
    ("attend", {"layer": 256, "score_scale": 0}, r"attend.layer must lie in 0..255, not 256"),
    ("attend", {"layer": -1, "score_scale": 0}, r"attend.layer must lie in 0..255, not -1"),
])
def test_what_is_no_instruction_is_refused(name, fields, message):
    with pytest.raises(ValueError, match=message):
        Instruction(name, fields)


@pytest.mark.parametrize(("word", "message"), [
    (15, "opcode 15 is no instruction"),
    (1 << 4, "end has bits behind its last field"),
    (1 << INSTRUCTION_BITS | 7, "head has bits behind its last field"),
])
def test_bits_that_stand_for_nothing_are_refused(word, message):
    with pytest.raises(ValueError, match=message):
        decode(word)
