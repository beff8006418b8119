# SPDX-License-Identifier: Apache-2.0
"""Registers by name, over whatever carries words to the accelerator and back."""

import time
from collections.abc import Callable
from typing import Protocol

from golden_model.registers import COUNTERS, IDENTITY, MAP_VERSION, REGISTERS, Register
from host.errors import TritforgeError

__all__ = ["DeviceError", "Registers", "WordBus"]


class DeviceError(TritforgeError):
    """The device is not the one that was expected, or reports that something went wrong."""


class WordBus(Protocol):
    """What carries accesses: a driver of a port, a memory map, or a simulation."""

    def read(self, offset: int) -> int:
        """Return the word at a byte offset."""

    def write(self, offset: int, word: int) -> None:
        """Write a word at a byte offset."""


class Registers:
    """The register table over a `WordBus`; no other code knows an offset.

    Parameters
    ----------
    bus
        What carries accesses.
    clock, pause
        Seconds, and a wait of as many: `wait_for` polls with them.
    """

    def __init__(self, bus: WordBus, clock: Callable[[], float] = time.monotonic,
                 pause: Callable[[float], None] = time.sleep) -> None:
        self._bus = bus
        self._clock = clock
        self._pause = pause
        self._table = {one.name: one for one in REGISTERS}

    def _find(self, name: str, access: str) -> Register:
        try:
            register = self._table[name]
        except KeyError:
            raise KeyError(f"no such register: {name}") from None
        if (access == "read" and register.access == "wo") or \
                (access == "write" and register.access == "ro"):
            raise ValueError(f"{name} is {register.access}: it has no {access}")
        return register

    def word(self, name: str) -> int:
        """Read a register."""
        return self._bus.read(self._find(name, "read").offset)

    def read(self, name: str) -> dict[str, int]:
        """Read a register; returns its fields."""
        word = self.word(name)
        return {field.name: (word & field.mask) >> field.low
                for field in self._table[name].fields}

    def write(self, name: str, **fields: int) -> None:
        """Write a register whole; fields that are not named become 0.

        Raises
        ------
        ValueError
            A value does not fit its field, or the register is read-only.
        KeyError
            There is no such register or field.
        """
        register = self._find(name, "write")
        known = {field.name: field for field in register.fields}
        word = 0
        for key, value in fields.items():
            if key not in known:
                raise KeyError(f"{name} has no field {key}")
            field = known[key]
            if not 0 <= value < 1 << field.bits:
                raise ValueError(f"{name}.{key} must fit {field.bits} bits, not {value}")
            word |= value << field.low
        self._bus.write(register.offset, word)

    def read64(self, low: str, high: str) -> int:
        """Two registers as one number; the low one is read first."""
        first = self.word(low)
        return first | self.word(high) << 32

    def write64(self, low: str, high: str, value: int) -> None:
        """Write one number to two registers."""
        if not 0 <= value < 1 << 64:
            raise ValueError(f"{low} and {high} hold 64 bits, not {value}")
        self.write(low, value=value & 0xFFFF_FFFF)
        self.write(high, value=value >> 32)

    def counters(self) -> dict[str, int]:
        """Read every counter."""
        return {name: self.read64(f"count_{name}", f"count_{name}_high") for name, _ in COUNTERS}

    def check_identity(self, config_hash: str | None = None) -> None:
        """Raise `DeviceError` unless this is an accelerator of the table's major version.

        Parameters
        ----------
        config_hash
            If given, the device must have been built from that configuration.
        """
        identity = self.word("id")
        if identity != IDENTITY:
            raise DeviceError(f"no accelerator answers: its id would be {IDENTITY:#010x}, not "
                              f"{identity:#010x}")
        version = self.read("version")
        if version["major"] != MAP_VERSION[0]:
            raise DeviceError(f"the device has register table {version['major']}."
                              f"{version['minor']}, this driver needs {MAP_VERSION[0]}.x")
        found = f"{self.read64('config_hash_low', 'config_hash_high'):016x}"
        if config_hash not in (None, found):
            raise DeviceError(f"the device was built from configuration {found}, the image needs "
                              f"{config_hash}")

    def errors(self) -> list[str]:
        """Names of the sticky errors that are set."""
        return [name for name, value in self.read("errors").items() if value]

    def clear_errors(self) -> None:
        """Clear every sticky error."""
        self._bus.write(self._table["errors"].offset, self._table["errors"].mask)

    def wait_for(self, name: str, field: str, value: int, *, seconds: float) -> None:
        """Wait until a field has a value.

        Raises
        ------
        DeviceError
            It has another one when the time is up; the message names the errors that are set.
        """
        end = self._clock() + seconds
        delay = 1e-5
        while (found := self.read(name)[field]) != value:
            if self._clock() > end:
                causes = ", ".join(self.errors()) or "none"
                raise DeviceError(f"{name}.{field} is {found}, not {value}, after {seconds:g} s; "
                                  f"errors: {causes}")
            self._pause(delay)
            delay = min(2 * delay, 0.05)
