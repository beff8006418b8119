# SPDX-License-Identifier: Apache-2.0
"""The memory image: a header, a program, and what the program's instructions point at.

The file is the memory's content and nothing else, beat after beat, each in whole bytes, so that a
board's loader needs no parser.  Whatever is wrong with one is a `UserError` of one sentence.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from golden_model.instruction_config import HEADER, HEADER_BITS, INSTRUCTION_BITS, MAGIC
from golden_model.program import Instruction, decode, encode
from host.compile.layout import Beats
from host.errors import UserError

__all__ = ["Image", "header_beats", "instruction_beats", "make_image", "parse_image", "read_image"]

MAX_FILE_BYTES = 4 << 30


def _beats_for(bits: int, size: int) -> int:
    return -(-bits // (8 * size))


def header_beats(size: int) -> int:
    """Beats of the header, of `size` bytes each."""
    return _beats_for(HEADER_BITS, size)


def instruction_beats(size: int) -> int:
    """Beats of one instruction."""
    return _beats_for(INSTRUCTION_BITS, size)


@dataclass(frozen=True, eq=False)
class Image:
    """An image that has been checked."""

    beats: Beats
    """Everything [beats, bytes], the header included."""
    config_hash: str
    model_hash: str
    program: tuple[Instruction, ...]
    header: Mapping[str, int]
    """Every field of the header."""

    @property
    def content(self) -> bytes:
        """Content of the file, and of the memory from its base on."""
        return self.beats.tobytes()


def _crc(content: bytes) -> int:
    """CRC-32 of an image, its first two fields taken as zero."""
    return zlib.crc32(bytes(8) + content[8:])


def _number(beats: Beats) -> int:
    return int.from_bytes(beats.tobytes(), "little")


def _as_beats(number: int, count: int, size: int) -> Beats:
    return np.frombuffer(number.to_bytes(count * size, "little"), np.uint8).reshape(count, size)


def make_image(size: int, config_hash: str, model_hash: str, program: Sequence[Instruction],
               data: Beats, facts: Mapping[str, int] = MappingProxyType({})) -> Image:
    """Put an image together.

    Parameters
    ----------
    size
        Bytes of a beat.
    config_hash, model_hash
        16 hexadecimal digits each.
    program
        Instructions, whose addresses count from the image's first beat.
    data
        What they point at [beats, size]; it starts behind header and program.
    facts
        Fields of the header that describe the model, as :func:`host.compile.facts.model_facts`
        gives them; 0 unless given.
    """
    count = instruction_beats(size)
    code = [_as_beats(encode(each), count, size) for each in program]
    body = np.concatenate([*code, data])
    fields = {"magic": MAGIC, "crc": 0, "beats": header_beats(size) + len(body),
              "program": header_beats(size), "instructions": len(program),
              "config_hash": int(config_hash, 16), "model_hash": int(model_hash, 16)}
    fields = {**dict.fromkeys(HEADER, 0), **facts, **fields}
    number = offset = 0
    for name, bits in HEADER.items():
        number |= fields[name] << offset
        offset += bits
    beats = np.concatenate([_as_beats(number, header_beats(size), size), body])
    fields["crc"] = _crc(beats.tobytes())
    beats[0, 4:8] = np.frombuffer(fields["crc"].to_bytes(4, "little"), np.uint8)
    return Image(beats, config_hash, model_hash, tuple(program), fields)


def parse_image(content: bytes, size: int, config_hash: str | None = None) -> Image:
    """Check an image of beats of `size` bytes, and that it is for the configuration of that hash.

    Raises
    ------
    UserError
        It is truncated or too long, is no image, is damaged, is for another configuration, or its
        program has an instruction that there is not.
    """
    whole, rest = divmod(len(content), size)
    if rest or whole < header_beats(size):
        raise UserError(f"{len(content)} bytes are no image of beats of {size} bytes")
    beats = np.frombuffer(content, np.uint8).reshape(whole, size)
    number, fields = _number(beats[:header_beats(size)]), {}
    for name, bits in HEADER.items():
        fields[name] = number & (1 << bits) - 1
        number >>= bits
    if fields["magic"] != MAGIC:
        raise UserError(f"no image: it starts with {fields['magic']:#010x} instead of "
                        f"{MAGIC:#010x}")
    if number:
        raise UserError("the image's header has bits behind its last field")
    if fields["beats"] != whole:
        raise UserError(f"the image should have {fields['beats']} beats, it has {whole}")
    found = f"{fields['config_hash']:016x}"
    if config_hash is not None and found != config_hash:
        raise UserError(f"the image is for configuration {found}, this is {config_hash}; compile "
                        "it again")
    crc = _crc(content)
    if crc != fields["crc"]:
        raise UserError(f"the image is damaged: its CRC-32 is {crc:#010x} instead of "
                        f"{fields['crc']:#010x}")
    count, start = instruction_beats(size), fields["program"]
    if not header_beats(size) <= start <= whole - count * fields["instructions"]:
        raise UserError(f"the image's program of {fields['instructions']} instructions at beat "
                        f"{start} leaves its {whole} beats")
    try:
        program = tuple(decode(_number(beats[at:at + count])) for at in
                        range(start, start + count * fields["instructions"], count))
    except ValueError as error:
        raise UserError(f"the image's program: {error}") from error
    return Image(beats, found, f"{fields['model_hash']:016x}", program, fields)


def read_image(path: Path, size: int, config_hash: str | None = None) -> Image:
    """Read and check a file; see `parse_image`."""
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such image")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: more than {MAX_FILE_BYTES} bytes")
        return parse_image(path.read_bytes(), size, config_hash)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UserError as error:
        if str(error).startswith(str(path)):
            raise
        raise UserError(f"{path}: {error}") from error
