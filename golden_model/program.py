# SPDX-License-Identifier: Apache-2.0
"""Instructions as values, and as the bits that the sequencer reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from golden_model.instruction_config import FIELDS, INSTRUCTION_BITS, OPCODE_BITS, OPCODES

__all__ = ["Instruction", "decode", "disassemble", "encode"]

_NAMES = {code: name for name, code in OPCODES.items()}


@dataclass(frozen=True)
class Instruction:
    """One instruction; `fields` are non-negative integers, all of those that its name has.

    Raises
    ------
    ValueError
        There is no such instruction, a field is missing or unknown, or a value does not fit it.
    """

    name: str
    fields: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in FIELDS:
            raise ValueError(f"there is no instruction {self.name!r} (there are: "
                             f"{', '.join(FIELDS)})")
        widths = FIELDS[self.name]
        if set(self.fields) != set(widths):
            raise ValueError(f"{self.name} has the fields {', '.join(widths) or 'none'}, not "
                             f"{', '.join(self.fields) or 'none'}")
        for name, value in self.fields.items():
            if not 0 <= value < 1 << widths[name]:
                raise ValueError(f"{self.name}.{name} must lie in 0..{(1 << widths[name]) - 1}, "
                                 f"not {value}")


def encode(instruction: Instruction) -> int:
    """Bits of an instruction as one number below ``2**INSTRUCTION_BITS``."""
    word, offset = OPCODES[instruction.name], OPCODE_BITS
    for name, width in FIELDS[instruction.name].items():
        word |= instruction.fields[name] << offset
        offset += width
    return word


def decode(word: int) -> Instruction:
    """Instruction of its bits.

    Raises
    ------
    ValueError
        The opcode stands for nothing, or a bit behind the last field is set.
    """
    code = word & (1 << OPCODE_BITS) - 1
    if code not in _NAMES:
        raise ValueError(f"opcode {code} is no instruction (the last is {max(_NAMES)})")
    name, offset, fields = _NAMES[code], OPCODE_BITS, {}
    for each, width in FIELDS[name].items():
        fields[each] = word >> offset & (1 << width) - 1
        offset += width
    if not 0 <= word < 1 << offset:
        raise ValueError(f"{name} has bits behind its last field, in {offset}.."
                         f"{INSTRUCTION_BITS - 1}")
    return Instruction(name, fields)


def disassemble(instructions: Sequence[Instruction]) -> list[str]:
    """One line for each instruction: its number, name and fields."""
    return [f"{n:4d}  {each.name:13s}" + " ".join(
        f"{name}={value:#x}" if value > 9 else f"{name}={value}"
        for name, value in each.fields.items()) for n, each in enumerate(instructions)]
