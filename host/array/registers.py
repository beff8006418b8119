# SPDX-License-Identifier: Apache-2.0
"""The registers by which an array is reached over a link, and the device end behind them.

Offsets in bytes; `docs/link.md` has the table.  They are those of a service around the array's
streams; the register table of a whole accelerator (`golden_model/registers.py`) is another one.
"""

from collections import deque

import numpy as np

from golden_model.config import ArrayConfig, config_hash
from host.array.service import ArrayError, ArrayRefusedError, Bank, Placed
from host.link.device import BusError

__all__ = ["ARRAY_ID", "ARRAY_VERSION", "BIT", "OFFSET", "ArrayBus", "array_hash", "beat_words"]

ARRAY_ID = 0x5941_5254
"""``TRAY`` in ASCII."""
ARRAY_VERSION = 1
OFFSET = {name: 4 * n for n, name in enumerate((
    "id", "version", "hash_low", "hash_high", "control", "status", "rows", "columns", "digits",
    "matrix", "beats", "codes", "sums", "waiting"))}
"""Byte address of each register."""
BIT = {"place": 1, "multiply": 2, "forget": 4, "refused": 1, "failed": 2}
"""Bits of ``control``, and of ``status``."""
NAMES = {offset: name for name, offset in OFFSET.items()}
SETTINGS = ("rows", "columns", "digits", "matrix")
WORD_BYTES = 4
SUM_BITS = 32
MOST_WORDS = 1 << 24
"""Words of a matrix or vector that may be under way."""


def array_hash(config: ArrayConfig) -> int:
    """Hash of an array's configuration, 64 bits."""
    return int(config_hash(config), 16)


def beat_words(config: ArrayConfig) -> int:
    """Words in which a beat of trits goes over the link."""
    return -(-config.unpacker.packed_bits // 32)


class ArrayBus:
    """Registers in front of a bank; see :class:`host.link.device.Bus`."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        number = array_hash(bank.config)
        self._words = {"id": ARRAY_ID, "version": ARRAY_VERSION, "hash_low": number & 0xFFFF_FFFF,
                       "hash_high": number >> 32, "status": 0, **dict.fromkeys(SETTINGS, 0)}
        self._beats: list[int] = []
        self._codes: list[int] = []
        self._sums: deque[int] = deque()

    def tick(self) -> bool:
        """Nothing is left to do between two commands."""
        return False

    def read(self, address: int) -> int:
        """Word at `address`."""
        name = NAMES.get(address)
        if name == "sums":
            return self._sums.popleft() if self._sums else 0
        if name == "waiting":
            return len(self._sums)
        if name not in self._words:
            raise BusError(f"{address:#x}")
        return self._words[name]

    def write(self, address: int, word: int) -> None:
        """Write one word."""
        name = NAMES.get(address)
        if name in SETTINGS:
            self._words[name] = word
        elif name in ("beats", "codes"):
            queue = self._beats if name == "beats" else self._codes
            if len(queue) < MOST_WORDS:
                queue.append(word)
        elif name == "control":
            self._control(word)
        else:
            raise BusError(f"{address:#x}")

    def _control(self, word: int) -> None:
        """Carry one command out; ``status`` says how that went."""
        self._words["status"] = 0
        try:
            if word & BIT["forget"]:
                self.bank.forget()
            if word & BIT["place"]:
                self._place()
            if word & BIT["multiply"]:
                self._multiply()
        except ArrayRefusedError:
            self._words["status"] = BIT["refused"]
        except ArrayError:
            self._words["status"] = BIT["failed"]
        self._beats, self._codes = [], []

    def _place(self) -> None:
        size = beat_words(self.bank.config)
        if len(self._beats) % size:
            raise ArrayRefusedError("a beat is not whole")
        data = np.array(self._beats, "<u4").tobytes()
        beats = [int.from_bytes(data[start:start + WORD_BYTES * size], "little")
                 for start in range(0, len(data), WORD_BYTES * size)]
        self._words["matrix"] = self.bank.place_beats(
            Placed(self._words["rows"], self._words["columns"], beats))

    def _multiply(self) -> None:
        self._sums.clear()
        codes = np.array(self._codes, "<u4").view(np.int8)[:self._words["columns"]]
        sums = self.bank.multiply(self._words["matrix"], codes, self._words["digits"])
        self._sums.extend(int(word) & 0xFFFF_FFFF for word in sums)
