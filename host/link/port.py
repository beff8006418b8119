# SPDX-License-Identifier: Apache-2.0
"""Byte ports: a terminal device, and the interface that tests put others behind."""

import errno
import fcntl
import os
import select
import termios
import time
import tty
from pathlib import Path
from typing import Protocol

from host.link.errors import PortError

__all__ = ["Port", "TerminalPort"]

READ_BYTES = 4096
BAUD_RATES = {9600: termios.B9600, 115_200: termios.B115200, 230_400: termios.B230400,
              460_800: termios.B460800, 921_600: termios.B921600, 1_000_000: termios.B1000000,
              2_000_000: termios.B2000000, 3_000_000: termios.B3000000}


class Port(Protocol):
    """What a link needs of a port; no call outlasts its deadline (of ``time.monotonic``)."""

    def write(self, data: bytes, deadline: float) -> None:
        """Send all bytes; `PortError` if the port is gone or takes none until the deadline."""

    def read(self, deadline: float) -> bytes:
        """Give what is there, or wait for it; nothing at the deadline."""

    def close(self) -> None:
        """Let go of the port."""


class TerminalPort:
    """A serial port, or a pseudo-terminal, by its file descriptor.

    Parameters
    ----------
    handle
        Owned from now on.
    """

    def __init__(self, handle: int, name: str) -> None:
        self.name = name
        self._handle = handle
        self._open = True
        os.set_blocking(handle, False)

    @classmethod
    def open(cls, path: Path, baud: int = 115_200) -> "TerminalPort":
        """Open a terminal device, raw and for this process alone.

        Raises
        ------
        PortError
            It is not there, busy, not permitted, no terminal, or the rate is not offered.
        """
        if baud not in BAUD_RATES:
            raise PortError(f"{path}: {baud} baud is not offered; "
                            f"{', '.join(map(str, BAUD_RATES))} are")
        try:
            handle = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise PortError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a second host is told
            fcntl.ioctl(handle, termios.TIOCEXCL)
            tty.setraw(handle, termios.TCSANOW)
            attributes = termios.tcgetattr(handle)
            attributes[4] = attributes[5] = BAUD_RATES[baud]
            termios.tcsetattr(handle, termios.TCSANOW, attributes)
            termios.tcflush(handle, termios.TCIOFLUSH)
        except BlockingIOError as error:
            os.close(handle)
            raise PortError(f"{path}: another program uses it") from error
        except termios.error as error:
            os.close(handle)
            raise PortError(f"{path}: not a terminal device") from error
        except OSError as error:
            os.close(handle)
            reason = "not a terminal device" if error.errno == errno.ENOTTY else error.strerror
            raise PortError(f"{path}: {reason}") from error
        return cls(handle, str(path))

    def _wait(self, deadline: float, *, write: bool) -> bool:
        """Wait until the port is ready; whether it is."""
        left = max(0.0, deadline - time.monotonic())
        handles = [self._handle]
        ready = select.select([] if write else handles, handles if write else [], [], left)
        return bool(ready[1] if write else ready[0])

    def write(self, data: bytes, deadline: float) -> None:
        """Send all bytes; `PortError` if the port is gone or takes none until the deadline."""
        while data:
            try:
                if not self._open or not self._wait(deadline, write=True):
                    raise PortError(f"{self.name}: {'takes no bytes' if self._open else 'closed'}")
                data = data[os.write(self._handle, data):]
            except BlockingIOError:
                continue
            except OSError as error:
                raise PortError(f"{self.name}: {error.strerror}") from error

    def read(self, deadline: float) -> bytes:
        """Give what is there, or wait for it; nothing at the deadline."""
        try:
            if not self._open:
                raise PortError(f"{self.name}: closed")
            if not self._wait(deadline, write=False):
                return b""
            data = os.read(self._handle, READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise PortError(f"{self.name}: {error.strerror}") from error
        if not data:
            raise PortError(f"{self.name}: the other end is gone")
        return data

    def close(self) -> None:
        """Let go of the port."""
        if self._open:
            self._open = False
            os.close(self._handle)
