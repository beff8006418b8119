# SPDX-License-Identifier: Apache-2.0
"""An array at the other end of a link, as a service."""

import struct
from collections.abc import Sequence

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.config import ArrayConfig
from golden_model.mac.ternary_array import pack_weights, tile_activations
from host.array.registers import (
    ARRAY_ID,
    ARRAY_VERSION,
    BIT,
    OFFSET,
    array_hash,
    beat_words,
)
from host.array.service import ArrayError, ArrayRefusedError, check_product
from host.link.device import FIXED, MAX_WORDS, READ, REQUEST, WRITE
from host.link.errors import LinkError
from host.link.link import Link

__all__ = ["RemoteArray"]

_WORD_BYTES = 4


class RemoteArray:
    """See :class:`host.array.service.ArrayService`; what is refused is refused here, unsent.

    Parameters
    ----------
    link
        Owned from now on.
    config
        Geometry that the array has to have.
    """

    def __init__(self, link: Link, config: ArrayConfig) -> None:
        self.link, self.config = link, config
        self._shapes: dict[int, tuple[int, int]] = {}

    def _words(self, name: str, count: int, flags: int = 0) -> tuple[int, ...]:
        try:
            data = self.link.command(READ, REQUEST.pack(OFFSET[name], count, flags))
        except LinkError as error:
            raise ArrayError(f"array: {error}") from error
        if len(data) != _WORD_BYTES * count:
            raise ArrayError(f"array: {len(data)} bytes came back for {count} words")
        return struct.unpack(f"<{count}I", data)

    def _write(self, name: str, words: Sequence[int], flags: int = 0) -> None:
        try:
            for start in range(0, len(words), MAX_WORDS):
                part = words[start:start + MAX_WORDS]
                self.link.command(WRITE, REQUEST.pack(OFFSET[name], len(part), flags)
                                  + struct.pack(f"<{len(part)}I", *part))
        except LinkError as error:
            raise ArrayError(f"array: {error}") from error

    def _connect(self) -> None:
        """Begin a session, check who answers, and have it forget what others placed."""
        try:
            self.link.connect()
        except LinkError as error:
            raise ArrayError(f"array: {error}") from error
        identity, version, low, high = self._words("id", 4)
        if identity != ARRAY_ID:
            raise ArrayError(f"array: what answers is no array: ID is {identity:#010x}")
        if version != ARRAY_VERSION:
            raise ArrayError(f"array: its registers are of version {version}, not {ARRAY_VERSION}")
        if (found := high << 32 | low) != array_hash(self.config):
            raise ArrayError(f"array: its configuration is {found:016x}, not "
                             f"{array_hash(self.config):016x}: it was built for another")
        self._shapes.clear()
        self._control("forget")

    def _control(self, command: str) -> None:
        self._write("control", [BIT[command]])
        (status,) = self._words("status", 1)
        if status & BIT["refused"]:
            raise ArrayRefusedError(f"array: it refuses to {command}")
        if status:
            raise ArrayError(f"array: it failed to {command}")

    def place(self, trits: Codes) -> int:
        """Keep a matrix [M, K] of trits, and return its number."""
        rows, columns = trits.shape
        check_product(self.config, rows, columns, 1)
        if not self.link.connected:
            self._connect()
        beats = pack_weights(self.config, trits)
        padding = _WORD_BYTES * beat_words(self.config) - beats.shape[1]
        words = np.pad(beats, ((0, 0), (0, padding))).reshape(-1).view("<u4")
        self._write("rows", [rows, columns])
        self._write("beats", words.tolist(), FIXED)
        self._control("place")
        (number,) = self._words("matrix", 1)
        self._shapes[number] = (rows, columns)
        return number

    def multiply(self, matrix: int, codes: Codes, digits: int) -> Ints:
        """Multiply codes [K] with a matrix that was placed: sums [M]."""
        if matrix not in self._shapes:
            raise ArrayRefusedError(f"matrix {matrix} was never placed")
        rows, columns = self._shapes[matrix]
        check_product(self.config, rows, columns, digits)
        if codes.shape != (columns,):
            raise ArrayRefusedError(f"{columns} codes are wanted, not {list(codes.shape)}")
        try:
            tile_activations(self.config, codes, digits)
        except ValueError as error:
            raise ArrayRefusedError(str(error)) from error
        data = codes.astype(np.int8).tobytes()
        words = np.frombuffer(data + bytes(-len(data) % _WORD_BYTES), "<u4")
        self._write("rows", [rows, columns, digits, matrix])
        self._write("codes", words.tolist(), FIXED)
        self._control("multiply")
        if (waiting := self._words("waiting", 1)[0]) != rows:
            raise ArrayError(f"array: {waiting} sums are there, not {rows}")
        sums: list[int] = []
        while len(sums) < rows:
            sums += self._words("sums", min(MAX_WORDS, rows - len(sums)), FIXED)
        return np.array(sums, np.uint32).view(np.int32).astype(np.int64)

    def close(self) -> None:
        """Let go of the port."""
        self.link.close()
