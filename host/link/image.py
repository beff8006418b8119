# SPDX-License-Identifier: Apache-2.0
"""An image over the link: piece by piece, each written once, going on where it stopped."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

from golden_model.registers import register
from host.link.errors import DeviceRefusedError, LinkTimeoutError, SessionLostError
from host.link.frame import MAX_PAYLOAD
from host.link.link import (
    BAD_LENGTH,
    OK,
    OTHER_BEATS,
    OUT_OF_ORDER,
    UNKNOWN_OP,
    WRONG_CRC,
    Link,
)

__all__ = ["IMAGE", "PIECE", "Content", "ImageBus", "ImageTaker", "upload"]

IMAGE, PIECE = 0x04, 0x05
_IMAGE = struct.Struct("<IIH")
"""CRC-32 of the content, beats, words of a beat."""
_PLACE = struct.Struct("<I")
"""First beat of a piece; as an answer, beats that are there."""
WORD_BYTES = 4
_REGISTERS = (register("image_address").offset, register("image_data").offset)


class Content(NamedTuple):
    """An image as a device's memory takes it."""

    data: bytes
    """Every beat in whole words, or in whole words of the bus behind which the memory is."""
    beat_words: int
    base: int | None = None
    """Byte address of the first beat, in a memory behind AXI4."""

    @property
    def beats(self) -> int:
        """Beats, and how many pieces there can be at most."""
        return len(self.data) // (WORD_BYTES * self.beat_words)


class ImageBus(Protocol):
    """What a device's registers offer beside :class:`host.link.device.Bus` if they take images."""

    beat_words: int
    """Words of a beat; 0: no image can be written."""

    def write_image(self, beat: int, words: Sequence[int]) -> None:
        """Write whole beats from `beat` on."""


class ImageTaker:
    """The device's part: which image is being written, and how much of it is there.

    Pieces come in order; one that is there already is not written again.
    """

    def __init__(self) -> None:
        self.written = 0
        """Pieces written."""
        self.forget()

    def forget(self) -> None:
        """Begin anew with the next image, whichever it is."""
        self._image: tuple[int, int, int] | None = None
        self._there = self._crc = 0

    def touched(self, first: int, last: int) -> None:
        """Take note of a write to registers: one to those of the image makes its record void."""
        if any(first <= each <= last for each in _REGISTERS):
            self.forget()

    def take(self, op: int, payload: bytes, bus: object) -> tuple[int, bytes]:
        """Answer one command of an upload: status and data."""
        size = getattr(bus, "beat_words", 0)
        if not size:
            return UNKNOWN_OP, b""
        status = (self._begin if op == IMAGE else self._piece)(payload, size, bus)
        return status, _PLACE.pack(self._there) if status == OK else b""

    def _begin(self, payload: bytes, size: int, bus: object) -> int:
        if len(payload) != _IMAGE.size:
            return BAD_LENGTH
        image = _IMAGE.unpack(payload)
        if image[2] != size:
            return OTHER_BEATS
        if image != self._image:
            self.forget()
            self._image = image
        return OK

    def _piece(self, payload: bytes, size: int, bus: object) -> int:
        data = payload[_PLACE.size:]
        count, rest = divmod(len(data), WORD_BYTES * size)
        if len(payload) < _PLACE.size or rest or not count:
            return BAD_LENGTH
        (first,) = _PLACE.unpack(payload[:_PLACE.size])
        if self._image is None or first > self._there:
            return OUT_OF_ORDER
        if first + count <= self._there:
            return OK
        crc, beats, _ = self._image
        if first < self._there or first + count > beats:
            return OUT_OF_ORDER
        words = struct.unpack(f"<{len(data) // WORD_BYTES}I", data)
        cast(ImageBus, bus).write_image(first, words)
        self.written += 1
        self._there, self._crc = first + count, zlib.crc32(data, self._crc)
        if self._there == beats and self._crc != crc:
            self.forget()
            return WRONG_CRC
        return OK


def upload(link: Link, content: Content, identify: Callable[[], object],
           progress: Callable[[int, int], None] = lambda done, of: None, attempts: int = 3) -> int:
    """Bring an image to a device; what of it is there already is not sent again.

    Parameters
    ----------
    identify
        Asks the device who it is, at the start of each session, and raises if it is another.
    progress
        Told beats that are there, and all of them.
    attempts
        Sessions until the upload is given up; each goes on where the one before ended.

    Returns
    -------
    int
        Beats that were sent.

    Raises
    ------
    LinkError
        The device takes no images, or images of another shape; or it was lost.
    """
    size = WORD_BYTES * content.beat_words
    most = max(1, (MAX_PAYLOAD - _PLACE.size) // size)
    sent = 0
    for attempt in range(attempts):
        try:
            if not link.connected:
                link.connect()
                identify()
            (there,) = _PLACE.unpack(link.command(IMAGE, _IMAGE.pack(
                zlib.crc32(content.data), content.beats, content.beat_words)))
            while there < content.beats:
                progress(there, content.beats)
                data = content.data[there * size:(there + most) * size]
                (there,) = _PLACE.unpack(link.command(PIECE, _PLACE.pack(there) + data))
                sent += len(data) // size
            progress(there, content.beats)
            return sent
        except (LinkTimeoutError, SessionLostError, DeviceRefusedError) as error:
            if attempt + 1 == attempts or isinstance(error, DeviceRefusedError):
                raise
    return sent
