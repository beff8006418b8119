# SPDX-License-Identifier: Apache-2.0
"""Host end of the link: stop and wait, with bounded repetition."""

import random
import struct
import time
from dataclasses import dataclass

from host.link.errors import DeviceRefusedError, LinkError, LinkTimeoutError, SessionLostError
from host.link.frame import REPLY, Frame, FrameReader, encode
from host.link.port import Port

__all__ = ["BAD_LENGTH", "BAD_VERSION", "NO_ADDRESS", "OK", "OTHER_BEATS", "OUT_OF_ORDER",
           "OUT_OF_SEQUENCE", "REASONS", "SYNC", "UNKNOWN_OP", "WRONG_CRC", "Link", "Patience"]

SYNC = 0x01
OK = 0
OUT_OF_SEQUENCE, UNKNOWN_OP, BAD_LENGTH, NO_ADDRESS, BAD_VERSION = 1, 2, 3, 4, 5
OTHER_BEATS, OUT_OF_ORDER, WRONG_CRC = 6, 7, 8
REASONS = {OUT_OF_SEQUENCE: "out of sequence", UNKNOWN_OP: "unknown op", BAD_LENGTH: "bad length",
           NO_ADDRESS: "no such address", BAD_VERSION: "protocol version",
           OTHER_BEATS: "its beats have another number of words",
           OUT_OF_ORDER: "a piece of the image out of order",
           WRONG_CRC: "the image's CRC-32 differs"}
"""Status of a refusal, the first byte of a reply's payload."""
SEQUENCES = 1 << 16


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to repeat."""

    first: float = 0.25
    growth: float = 2.0
    longest: float = 2.0
    attempts: int = 6
    jitter: float = 0.25
    """Share of a wait that is drawn at random, so that two ends do not repeat in step."""

    @property
    def bound(self) -> float:
        """Most seconds that one command takes before it fails."""
        waits = [min(self.longest, self.first * self.growth**i) for i in range(self.attempts)]
        return sum(waits) * (1 + self.jitter)


class Link:
    """Commands and their replies; one at a time.

    After any `LinkError` but a refusal the session is over until :meth:`connect`.
    """

    def __init__(self, port: Port, patience: Patience | None = None,
                 seed: int | None = None) -> None:
        self.port = port
        self.patience = patience or Patience()
        self.sent = 0
        """Frames sent, repetitions included."""
        self.commands = 0
        self._reader = FrameReader()
        self._random = random.Random(seed)
        self._sequence: int | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._sequence is not None

    @property
    def discarded(self) -> int:
        """Pieces received that were no frame."""
        return self._reader.discarded

    def close(self) -> None:
        """Let go of the port."""
        self._sequence = None
        self.port.close()

    def connect(self) -> None:
        """Begin a session: the device forgets the one before, and executes nothing of it.

        Raises
        ------
        LinkError
            Nobody answers.
        """
        self._reader.reset()
        self._sequence = None
        sequence = self._random.randrange(SEQUENCES)
        nonce = struct.pack("<I", self._random.getrandbits(32))
        self._exchange(Frame(SYNC, sequence, nonce))
        self._sequence = sequence

    def command(self, op: int, payload: bytes = b"") -> bytes:
        """Have a command executed once, and return what the device answers.

        Raises
        ------
        DeviceRefusedError
            The device cannot do this; the session goes on.
        LinkError
            The session is over; whether the command was executed is not known.
        """
        if self._sequence is None:
            raise SessionLostError("there is no session; connect first")
        self._sequence = (self._sequence + 1) % SEQUENCES
        try:
            return self._exchange(Frame(op, self._sequence, payload))
        except DeviceRefusedError:
            raise
        except LinkError:
            self._sequence = None
            raise

    def _exchange(self, frame: Frame) -> bytes:
        patience, wire = self.patience, encode(frame)
        self.commands += 1
        wait = patience.first
        for _ in range(patience.attempts):
            spread = 1 + patience.jitter * self._random.random()
            deadline = time.monotonic() + min(wait, patience.longest) * spread
            self.port.write(wire, deadline)
            self.sent += 1
            while (left := deadline - time.monotonic()) > 0:
                for reply in self._reader.feed(self.port.read(time.monotonic() + left)):
                    # Others are replies to what was repeated before.
                    if (reply.op, reply.sequence) == (frame.op | REPLY, frame.sequence):
                        return _answer(reply)
            wait *= patience.growth
        raise LinkTimeoutError(f"no answer to command {frame.op:#04x} in {patience.attempts} "
                               "attempts")


def _answer(reply: Frame) -> bytes:
    """Payload of a reply without its status, which has to be good."""
    status = reply.payload[0] if reply.payload else -1
    if status == OK:
        return reply.payload[1:]
    reason = REASONS.get(status, f"status {status}")
    if status == OUT_OF_SEQUENCE:
        raise SessionLostError("the device does not know of this session (it may have restarted)")
    raise DeviceRefusedError(f"the device refuses: {reason}")
