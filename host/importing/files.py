# SPDX-License-Identifier: Apache-2.0
"""Tensors in files that may lie: checked places, checked reads, floats of three widths."""

import math
import os
import stat
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from host.errors import UserError

__all__ = ["MAX_NAME", "MAX_TENSORS", "DataFile", "Entry", "Tensors", "read_small", "shown"]

MAX_TENSORS = 1 << 16
MAX_DIMS = 4
MAX_NAME = 256
CHUNK_ELEMENTS = 1 << 22
"""Elements that are converted at a time."""

FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def shown(name: str) -> str:
    """Quote a name from a file: one line, not too long."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


class DataFile:
    """A regular file that is read by place; anything else is refused without waiting for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Opening a FIFO for reading would otherwise wait for its writer.
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
        self._handle = handle
        self.close = weakref.finalize(self, os.close, handle)
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise UserError(f"{path}: not a regular file")
        self.size = status.st_size

    def wrong(self, message: str) -> UserError:
        """Error that names this file."""
        return UserError(f"{self.path}: {message}")

    def read(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes from `offset`."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise self.wrong(f"{count} bytes at {offset} reach past its {self.size} bytes")
        parts, missing = [], count
        while missing:  # one call gives at most 2 GiB
            part = os.pread(self._handle, missing, offset + count - missing)
            if not part:
                raise self.wrong("it became shorter while it was read")
            parts.append(part)
            missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def read_small(path: Path, limit: int) -> bytes:
    """Whole content of a file of at most `limit` bytes."""
    file = DataFile(path)
    try:
        if file.size > limit:
            raise file.wrong(f"{file.size} bytes are more than the {limit} that it may have")
        return file.read(0, file.size)
    finally:
        file.close()


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies; shape with the fastest dimension last."""

    file: DataFile
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


def check_shape(file: DataFile, name: str, shape: Sequence[Any]) -> tuple[int, ...]:
    """Dimensions as positive integers, few of them, none so large that nothing could hold it."""
    if len(shape) > MAX_DIMS:
        raise file.wrong(f"tensor {shown(name)} has {len(shape)} dimensions; {MAX_DIMS} are the "
                         "most")
    for n in shape:
        if type(n) is not int or not 0 < n < 1 << 48:
            raise file.wrong(f"tensor {shown(name)} has a dimension of {shown(str(n))}")
    return tuple(shape)


def check_places(file: DataFile, places: list[tuple[int, int, str]], end: int, gap: int) -> None:
    """Tensors as (begin, end, name) must follow each other up to `end`, at most `gap` apart."""
    reached = 0
    for begin, stop, name in sorted(places):
        if begin < reached:
            raise file.wrong(f"tensor {shown(name)} overlaps the one before it")
        if begin - reached > gap:
            raise file.wrong(f"{begin - reached} bytes ahead of tensor {shown(name)} belong to "
                             "none")
        reached = stop
    if reached > end:
        raise file.wrong(f"it is cut off: its tensors take {reached} bytes, it holds {end}")
    if end - reached > gap:
        raise file.wrong(f"{end - reached} bytes after the last tensor belong to none")


class Tensors:
    """Tensors by name; each may be taken once, and what is left over can be asked for."""

    def __init__(self, place: Path, entries: dict[str, Entry]) -> None:
        self.place = place
        self.entries = entries
        self.left = set(entries)

    def wrong(self, message: str) -> UserError:
        """Error that names the checkpoint."""
        return UserError(f"{self.place}: {message}")

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def entry(self, name: str) -> Entry:
        """Entry of a tensor that has to be there, which counts as taken from now on."""
        if name not in self.entries:
            raise self.wrong(f"tensor {shown(name)} is missing")
        self.left.discard(name)
        return self.entries[name]

    def shaped(self, name: str, shape: tuple[int, ...], *dtypes: str) -> Entry:
        """Entry whose shape and type have to be as given (no type: any)."""
        entry = self.entry(name)
        found = f"tensor {shown(name)} is {entry.dtype}{list(entry.shape)}"
        if entry.shape != shape:
            raise entry.file.wrong(f"{found}, not {list(shape)}")
        if dtypes and entry.dtype not in dtypes:
            raise entry.file.wrong(f"{found}, not of type {' or '.join(dtypes)}")
        return entry

    def raw(self, entry: Entry) -> bytes:
        """All bytes of a tensor."""
        return entry.file.read(entry.offset, entry.size)

    def rows(self, name: str, shape: tuple[int, ...]) -> Iterator[NDArray[np.float32]]:
        """Float tensor of `shape`, some rows at a time, as float32; every value is finite."""
        entry = self.shaped(name, shape, "F32", "F16", "BF16")
        width = math.prod(shape[1:])
        step = max(1, CHUNK_ELEMENTS // width)
        item = FLOAT_BYTES[entry.dtype]
        for start in range(0, shape[0], step):
            count = min(step, shape[0] - start)
            raw = entry.file.read(entry.offset + start * width * item, count * width * item)
            values = _floats(raw, entry.dtype)
            if not np.isfinite(values).all():
                raise entry.file.wrong(f"tensor {shown(name)} holds a value that is not finite")
            yield values.reshape(count, *shape[1:])

    def floats(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Float tensor of `shape` as float32; every value is finite."""
        return np.concatenate(list(self.rows(name, shape)))

    def scalar(self, name: str) -> float:
        """One positive normal float of shape [] or [1]."""
        entry = self.entry(name)
        if math.prod(entry.shape) != 1 or entry.dtype not in ("F32", "F16", "BF16"):
            raise entry.file.wrong(f"scale {shown(name)} is {entry.dtype}{list(entry.shape)}, not "
                                   "one float")
        return self.positive(name, float(_floats(self.raw(entry), entry.dtype)[0]))

    def positive(self, name: str, value: float) -> float:
        """`value`, if it is a positive number that float32 holds without loss of range."""
        limits = np.finfo(np.float32)
        if not float(limits.tiny) <= value <= float(limits.max):  # NaN fails too
            raise self.wrong(f"scale of {shown(name)} is {value}, not a positive normal number")
        return value


def _floats(raw: bytes, dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, "<f4" if dtype == "F32" else "<f2").astype(np.float32)
