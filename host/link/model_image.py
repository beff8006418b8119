# SPDX-License-Identifier: Apache-2.0
"""The image memory of a modelled accelerator: beats in, and the check ahead of their use."""

from collections.abc import Sequence

from golden_model.instruction_config import HEADER
from host.compile.image import parse_image
from host.errors import UserError
from host.link.content import packed
from host.link.image import WORD_BYTES

__all__ = ["ModelImage"]

_BEATS_AT = (HEADER["magic"] + HEADER["crc"]) // 8


class ModelImage:
    """A memory of beats on the chip.

    Parameters
    ----------
    depth
        Beats that it holds; beyond them writes have no effect.
    beat_words, beat_bytes
        Words in which the host writes a beat, and bytes that it has.
    config_hash, model_hash
        Of the only image that passes the check.
    """

    def __init__(self, depth: int, beat_words: int, beat_bytes: int, config_hash: str,
                 model_hash: str) -> None:
        self.beat_words, self._bytes = beat_words, beat_bytes
        self._hashes = config_hash, model_hash
        self._memory = bytearray(depth * beat_words * WORD_BYTES)
        self._next = 0
        self.valid = False
        """Whether it was checked, and not written since."""

    def seek(self, beat: int) -> None:
        """Choose the beat that is written next."""
        self._next = beat * self.beat_words
        self.valid = False

    def push(self, *words: int) -> None:
        """Write words one behind the other."""
        for word in words:
            place = self._next * WORD_BYTES
            if place < len(self._memory):
                self._memory[place:place + WORD_BYTES] = word.to_bytes(WORD_BYTES, "little")
            self._next += 1
        self.valid = False

    def write_image(self, beat: int, words: Sequence[int]) -> None:
        """Write whole beats."""
        self.seek(beat)
        self.push(*words)

    def check(self) -> bool:
        """Read the image as the hardware does; whether it is sound and the one for this device."""
        content = packed(bytes(self._memory), self.beat_words, self._bytes)
        beats = int.from_bytes(content[_BEATS_AT:_BEATS_AT + 4], "little")
        try:
            found = parse_image(content[:beats * self._bytes], self._bytes, self._hashes[0])
        except UserError:
            return False
        self.valid = found.model_hash == self._hashes[1]
        return self.valid
