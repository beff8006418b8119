# SPDX-License-Identifier: Apache-2.0
"""The image's file: what is written is read, and whatever is wrong with one is refused."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from golden_model.program import Instruction
from host.compile.image import Image, header_beats, instruction_beats, make_image, parse_image
from host.compile.image import read_image as read
from host.errors import UserError

SIZE = 16
PROGRAM = (Instruction("head", {"address": 2, "beats": 9, "vocab": 5, "scale": 0x8000F9}),
           Instruction("end"))
HASH = "0123456789abcdef"


@pytest.fixture
def image() -> Image:
    data = np.random.default_rng(1).integers(0, 256, (9, SIZE)).astype(np.uint8)
    return make_image(SIZE, HASH, "f" * 16, PROGRAM, data)


def test_an_image_is_read_as_it_was_made(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "model.tif"
    path.write_bytes(image.content)
    got = read(path, SIZE, HASH)
    assert (got.beats == image.beats).all()
    assert (got.program, got.config_hash, got.model_hash) == (PROGRAM, HASH, "f" * 16)


def test_sizes_are_pinned(image: Image) -> None:
    assert (header_beats(16), header_beats(26), header_beats(64)) == (3, 2, 1)
    assert (instruction_beats(16), instruction_beats(26), instruction_beats(64)) == (3, 2, 1)
    assert image.beats.shape == (3 + 2 * 3 + 9, 16)
    assert image.content[:4] == b"TIF1"


def test_every_flipped_bit_is_noticed(image: Image) -> None:
    for bit in range(8 * len(image.content)):
        changed = bytearray(image.content)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UserError):
            parse_image(bytes(changed), SIZE, HASH)


def test_every_truncation_is_noticed(image: Image) -> None:
    for length in range(len(image.content)):
        with pytest.raises(UserError, match=r"are no image|should have"):
            parse_image(image.content[:length], SIZE, HASH)
    with pytest.raises(UserError, match="should have 18 beats, it has 19"):
        parse_image(image.content + bytes(SIZE), SIZE, HASH)


def test_an_image_for_another_configuration_is_refused(image: Image) -> None:
    with pytest.raises(UserError, match="for configuration 0123456789abcdef, this is f"):
        parse_image(image.content, SIZE, "f" * 16)
    assert parse_image(image.content, SIZE).config_hash == HASH


def test_another_geometrys_beats_are_refused(image: Image) -> None:
    with pytest.raises(UserError):
        parse_image(image.content, 26, HASH)


def test_an_instruction_that_there_is_not_is_refused(image: Image) -> None:
    beats = image.beats.copy()
    beats[3, 0] |= 0x0F
    crc = zlib.crc32(bytes(8) + beats.tobytes()[8:])
    beats[0, 4:8] = np.frombuffer(crc.to_bytes(4, "little"), np.uint8)
    with pytest.raises(UserError, match="the image's program: opcode 15 is no instruction"):
        parse_image(beats.tobytes(), SIZE, HASH)


def test_a_place_without_an_image_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such image"):
        read(tmp_path / "none", SIZE)
    with pytest.raises(UserError, match="no such image"):
        read(tmp_path, SIZE)
    (tmp_path / "text").write_text("The quick brown fox jumps over the lazy dog.....")
    with pytest.raises(UserError, match=r"text: no image: it starts with 0x20656854"):
        read(tmp_path / "text", SIZE)
