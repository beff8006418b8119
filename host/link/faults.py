# SPDX-License-Identifier: Apache-2.0
"""A port that goes wrong on purpose, between a host and the port that it believes it has."""

import random
from collections.abc import Callable, Mapping

from host.link.errors import PortError
from host.link.port import Port

__all__ = ["LASTING", "PASSING", "FaultyPort"]

PASSING = ("drop", "double", "flip", "cut", "insert", "hold", "junk")
"""Faults of one piece of bytes: lost, sent twice, a bit changed, a byte lost, a byte more, sent
after the next piece, noise in its place."""
LASTING = ("silence", "vanish", "reset", "babble")
"""Faults from then on: no byte either way, the port is gone, the device restarts (once), noise
instead of every byte."""


class FaultyPort:
    """Passes bytes on, or not.

    Pieces are counted over both directions: a write is one, and so is a read that brings bytes.

    Parameters
    ----------
    at
        Fault by the number of the piece that it hits, from 0.
    rate
        Chance that any other piece suffers one of `PASSING`.
    on_reset
        Restarts the device.
    """

    def __init__(self, port: Port, *, at: Mapping[int, str] | None = None, rate: float = 0.0,
                 seed: int = 0, on_reset: Callable[[], None] = lambda: None) -> None:
        self.port = port
        self.at = dict(at or {})
        self.rate = rate
        self.on_reset = on_reset
        self.pieces = 0
        self.struck: list[str] = []
        """Faults that came to pass."""
        self._random = random.Random(seed)
        self._state = ""
        self._held: dict[str, bytes] = {"write": b"", "read": b""}

    def _fault(self) -> str | None:
        fault = self.at.get(self.pieces)
        if fault is None and self._random.random() < self.rate:
            fault = self._random.choice(PASSING)
        self.pieces += 1
        if fault is not None:
            self.struck.append(fault)
        if fault in ("silence", "vanish", "babble"):
            self._state = fault
        elif fault == "reset":
            self.on_reset()
        return fault

    def _spoil(self, data: bytes, direction: str) -> bytes:
        """One piece as it arrives."""
        fault, chance = self._fault(), self._random
        if self._state == "vanish":
            raise PortError("the port is gone")
        if self._state == "silence" or fault == "drop":
            return b""
        if self._state == "babble" or fault == "junk":
            return chance.randbytes(len(data))
        late, self._held[direction] = self._held[direction], b""
        place = chance.randrange(len(data))
        match fault:
            case "double":
                data += data
            case "flip":
                data = data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + (
                    data[place + 1:])
            case "cut":
                data = data[:place] + data[place + 1:]
            case "insert":
                data = data[:place] + chance.randbytes(1) + data[place:]
            case "hold":
                self._held[direction] = data
                data = b""
        return data + late

    def write(self, data: bytes, deadline: float) -> None:
        """Send bytes, or what is left of them."""
        data = self._spoil(data, "write")
        if data:
            self.port.write(data, deadline)

    def read(self, deadline: float) -> bytes:
        """Give what came, or what is left of it."""
        if self._state == "vanish":
            raise PortError("the port is gone")
        data = self.port.read(deadline)
        return self._spoil(data, "read") if data else b""

    def close(self) -> None:
        """Let go of the port."""
        self.port.close()
