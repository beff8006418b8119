# SPDX-License-Identifier: Apache-2.0
"""Frames on the wire: COBS between zero bytes, a CRC-32 behind the payload."""

import struct
import zlib
from dataclasses import dataclass

from cobs import cobs

__all__ = ["MAX_PAYLOAD", "MAX_WIRE", "REPLY", "VERSION", "Frame", "FrameError", "FrameReader",
           "decode", "encode"]

VERSION = 1
MAX_PAYLOAD = 512
REPLY = 0x80
"""Set in the op of a reply."""
HEADER = struct.Struct("<BBHH")
CRC = struct.Struct("<I")
MAX_BODY = HEADER.size + MAX_PAYLOAD + CRC.size
MAX_WIRE = MAX_BODY + MAX_BODY // 254 + 1
"""Most bytes between two delimiters."""


class FrameError(ValueError):
    """Bytes that are no frame."""


@dataclass(frozen=True)
class Frame:
    """One command or its reply."""

    op: int
    sequence: int
    payload: bytes = b""
    version: int = VERSION


def encode(frame: Frame) -> bytes:
    """Bytes of a frame, a delimiter on both sides: what came before is ended, whatever it was.

    Raises
    ------
    ValueError
        The payload is longer than `MAX_PAYLOAD`.
    """
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"a payload has at most {MAX_PAYLOAD} bytes, not {len(frame.payload)}")
    body = HEADER.pack(frame.version, frame.op, frame.sequence, len(frame.payload)) + frame.payload
    stuffed: bytes = cobs.encode(body + CRC.pack(zlib.crc32(body)))
    return b"\0" + stuffed + b"\0"


def decode(wire: bytes) -> Frame:
    """Frame of the bytes between two delimiters; `FrameError` says what is wrong with them."""
    if len(wire) > MAX_WIRE:
        raise FrameError(f"{len(wire)} bytes are more than a frame has")
    try:
        body: bytes = cobs.decode(wire)
    except cobs.DecodeError as error:
        raise FrameError(f"no COBS: {error}") from error
    if len(body) < HEADER.size + CRC.size:
        raise FrameError(f"{len(body)} bytes are too few")
    (crc,) = CRC.unpack(body[-CRC.size:])
    if crc != zlib.crc32(body[:-CRC.size]):
        raise FrameError("the CRC differs")
    version, op, sequence, length = HEADER.unpack(body[:HEADER.size])
    payload = body[HEADER.size:-CRC.size]
    if length != len(payload):
        raise FrameError(f"{length} bytes of payload are announced, {len(payload)} are there")
    return Frame(op, sequence, payload, version)


class FrameReader:
    """Finds frames in a stream of bytes; never holds more than one frame's worth."""

    def __init__(self) -> None:
        self._partial = bytearray()
        self._too_long = False
        self.discarded = 0
        """Pieces between delimiters that were no frame."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes as they come; the frames that they complete."""
        frames = []
        *complete, rest = data.split(b"\0")
        for piece in complete:
            self._append(piece)
            frames += self._finish()
        self._append(rest)
        return frames

    def reset(self) -> None:
        """Forget the piece that has begun."""
        self._partial.clear()
        self._too_long = False

    def _append(self, piece: bytes) -> None:
        if self._too_long or len(self._partial) + len(piece) > MAX_WIRE:
            self._too_long = True
            self._partial.clear()
        else:
            self._partial += piece

    def _finish(self) -> list[Frame]:
        wire, too_long = bytes(self._partial), self._too_long
        self.reset()
        if not wire and not too_long:
            return []
        try:
            if too_long:
                raise FrameError("too long")
            return [decode(wire)]
        except FrameError:
            self.discarded += 1
            return []
