# SPDX-License-Identifier: Apache-2.0
"""Registers of the accelerator by name, through a link; and who it is that answers."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from golden_model.registers import IDENTITY, MAP_VERSION, Field, register
from host.link.device import FIXED, MAX_WORDS, READ, REQUEST, WRITE
from host.link.errors import IdentityError, LinkError
from host.link.link import Link

__all__ = ["Identity", "Registers", "field_of"]


@dataclass(frozen=True)
class Identity:
    """Constants that the accelerator was generated with."""

    config_hash: int
    rows: int
    lanes: int
    window: int
    slots: int
    prompt_queue: int
    generated_queue: int


def _field(name: str, field: str) -> Field:
    return next(each for each in register(name).fields if each.name == field)


def field_of(word: int, name: str, field: str) -> int:
    """One field of a register's word."""
    found = _field(name, field)
    return (word & found.mask) >> found.low


class Registers:
    """Reads and writes registers; values are words unless fields are named."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def _words(self, name: str, count: int, flags: int) -> tuple[int, ...]:
        request = REQUEST.pack(register(name).offset, count, flags)
        data = self.link.command(READ, request)
        if len(data) != 4 * count:
            raise LinkError(f"{len(data)} bytes came back for {count} words")
        return struct.unpack(f"<{count}I", data)

    def read(self, name: str) -> int:
        """Word of a register."""
        return self._words(name, 1, 0)[0]

    def read_range(self, first: str, last: str) -> dict[int, int]:
        """Words from one register to another, by offset.

        For registers without effects when read: what lies between is read too.
        """
        start, end = register(first).offset, register(last).offset
        words = self._words(first, (end - start) // 4 + 1, 0)
        return {start + 4 * i: word for i, word in enumerate(words)}

    def read_queue(self, name: str, count: int) -> list[int]:
        """Take `count` words from a queue."""
        words: list[int] = []
        while len(words) < count:
            words += self._words(name, min(MAX_WORDS, count - len(words)), FIXED)
        return words

    def write(self, name: str, *words: int) -> None:
        """Write words from a register on."""
        data = struct.pack(f"<{len(words)}I", *words)
        self.link.command(WRITE, REQUEST.pack(register(name).offset, len(words), 0) + data)

    def set(self, name: str, **fields: int) -> None:
        """Write one register; fields that are not named are zero."""
        self.write(name, sum(value << _field(name, field).low for field, value in fields.items()))

    def write_queue(self, name: str, words: Sequence[int]) -> None:
        """Put words into a queue."""
        for start in range(0, len(words), MAX_WORDS):
            part = words[start:start + MAX_WORDS]
            self.link.command(WRITE, REQUEST.pack(register(name).offset, len(part), FIXED)
                              + struct.pack(f"<{len(part)}I", *part))

    def identify(self, config_hash: int | None = None) -> Identity:
        """Read who answers, ahead of any write.

        Parameters
        ----------
        config_hash
            Hash that the configuration has to have; any, unless given.

        Raises
        ------
        IdentityError
            It is no Tritforge, its registers are of another major version, or its configuration is
            another.
        """
        words = self.read_range("id", "queues")

        def at(name: str, field: str) -> int:
            return field_of(words[register(name).offset], name, field)

        if at("id", "value") != IDENTITY:
            raise IdentityError(f"what answers is no Tritforge: ID is {at('id', 'value'):#010x}, "
                                f"not {IDENTITY:#010x}")
        if at("version", "major") != MAP_VERSION[0]:
            raise IdentityError(f"its registers are of version {at('version', 'major')}, this "
                                f"driver's of {MAP_VERSION[0]}")
        found = at("config_hash_high", "value") << 32 | at("config_hash_low", "value")
        if config_hash is not None and found != config_hash:
            raise IdentityError(f"its configuration is {found:016x}, not {config_hash:016x}: it "
                                "was built for another")
        return Identity(found, at("array", "rows"), at("array", "lanes"), at("cache", "window"),
                        at("cache", "slots"), at("queues", "prompt"), at("queues", "generated"))
