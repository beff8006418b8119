# SPDX-License-Identifier: Apache-2.0
"""Device end of the link, as a model: any register bus behind a port."""

import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from host.link.errors import PortError
from host.link.frame import REPLY, VERSION, Frame, FrameReader, encode
from host.link.image import IMAGE, PIECE, ImageTaker
from host.link.link import (
    BAD_LENGTH,
    BAD_VERSION,
    NO_ADDRESS,
    OK,
    OUT_OF_SEQUENCE,
    SEQUENCES,
    SYNC,
    UNKNOWN_OP,
)
from host.link.port import Port

__all__ = ["FIXED", "MAX_WORDS", "READ", "WRITE", "Bus", "BusError", "LinkDevice", "serve"]

READ, WRITE = 0x02, 0x03
FIXED = 1
"""Flag of a read or write: every word at the same address, as the end of a queue."""
REQUEST = struct.Struct("<HBB")
"""Address in bytes, words, flags."""
MAX_WORDS = 127
IDLE_SECONDS = 0.05
WRITE_SECONDS = 1.0
REMEMBERED_SESSIONS = 8


class BusError(Exception):
    """No register takes this access."""


class Bus(Protocol):
    """Registers of 32 bits by byte address."""

    def read(self, address: int) -> int:
        """Word at `address`; reading may have effects."""

    def write(self, address: int, word: int) -> None:
        """Write one word."""

    def tick(self) -> bool:
        """Do a piece of the work that was asked for; whether there was any."""


class LinkDevice:
    """Executes each command once: a repeated one is answered from memory."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.executed = 0
        """Commands executed; what was answered from memory does not count."""
        self.images = ImageTaker()
        self._nonces: deque[bytes] = deque(maxlen=REMEMBERED_SESSIONS)
        self._make: Callable[[], Bus] | None = None
        self._last: Frame | None = None
        self._reply: Frame | None = None

    def restart(self, make: Callable[[], Bus]) -> None:
        """Forget everything ahead of the next frame, as a reset does; any thread may ask for it."""
        self._make = make

    def _refresh(self) -> None:
        make, self._make = self._make, None
        if make is not None:
            self.bus = make()
            self.images.forget()
            self._nonces.clear()
            self._last = self._reply = None

    def tick(self) -> bool:
        """Do a piece of the bus's work; whether there was any."""
        self._refresh()
        return self.bus.tick()

    def handle(self, frame: Frame) -> Frame | None:
        """Reply to one frame; none to a reply, which only an echo would bring here."""
        self._refresh()
        if frame.op & REPLY:
            return None
        if frame.version != VERSION:
            return _status(frame, BAD_VERSION)
        if frame.op == SYNC:
            if len(frame.payload) != 4:
                return _status(frame, BAD_LENGTH)
            if frame.payload not in self._nonces:
                self._nonces.append(frame.payload)
                return self._remember(frame, _status(frame, OK))
            # One that was held up must not bring an old session back.
            return _status(frame, OK) if frame.payload == self._nonces[-1] else None
        if self._last is None:
            return _status(frame, OUT_OF_SEQUENCE)
        if frame == self._last:
            return self._reply
        if frame.sequence != (self._last.sequence + 1) % SEQUENCES:
            return _status(frame, OUT_OF_SEQUENCE)
        self.executed += 1
        return self._remember(frame, self._execute(frame))

    def _remember(self, frame: Frame, reply: Frame) -> Frame:
        self._last, self._reply = frame, reply
        return reply

    def _execute(self, frame: Frame) -> Frame:
        if frame.op in (IMAGE, PIECE):
            try:
                return _status(frame, *self.images.take(frame.op, frame.payload, self.bus))
            except BusError:
                return _status(frame, NO_ADDRESS)
        if frame.op not in (READ, WRITE):
            return _status(frame, UNKNOWN_OP)
        if len(frame.payload) < REQUEST.size:
            return _status(frame, BAD_LENGTH)
        address, count, flags = REQUEST.unpack(frame.payload[:REQUEST.size])
        data = frame.payload[REQUEST.size:]
        if not 1 <= count <= MAX_WORDS or flags & ~FIXED or len(data) != (
                4 * count if frame.op == WRITE else 0):
            return _status(frame, BAD_LENGTH)
        step = 0 if flags & FIXED else 4
        places = [address + step * i for i in range(count)]
        try:
            if frame.op == READ:
                words = [self.bus.read(place) for place in places]
                return _status(frame, OK, struct.pack(f"<{count}I", *words))
            self.images.touched(places[0], places[-1])
            for place, word in zip(places, struct.unpack(f"<{count}I", data), strict=True):
                self.bus.write(place, word)
        except BusError:
            return _status(frame, NO_ADDRESS)
        return _status(frame, OK)


def _status(frame: Frame, status: int, data: bytes = b"") -> Frame:
    return Frame(frame.op | REPLY, frame.sequence, bytes([status]) + data)


def serve(device: LinkDevice, port: Port, stop: threading.Event) -> None:
    """Answer on a port until `stop` is set or the port is gone."""
    reader = FrameReader()
    try:
        while not stop.is_set():
            busy = device.tick()
            wait = 0.0 if busy else IDLE_SECONDS
            for frame in reader.feed(port.read(time.monotonic() + wait)):
                reply = device.handle(frame)
                if reply is not None:
                    port.write(encode(reply), time.monotonic() + WRITE_SECONDS)
    except PortError:
        return
    finally:
        port.close()
