# SPDX-License-Identifier: Apache-2.0
"""Metadata and tensor places of a GGUF file (versions 2 and 3, little-endian).

Every count and length is checked against the bytes that are left before anything is read for it;
arrays do not nest.  Arrays are skipped: what they hold (the tokenizer) has no place in a packed
model, and only their length is kept.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path

from golden_model.checkpoints import GGUF_BLOCK, I2_S_TAIL, TQ1_0_BYTES, TQ2_0_BYTES
from host.importing.files import (
    MAX_DIMS,
    MAX_NAME,
    MAX_TENSORS,
    DataFile,
    Entry,
    Tensors,
    check_places,
    check_shape,
    shown,
)

__all__ = ["Gguf", "Scalar", "read_gguf"]

Scalar = bool | int | float | str

MAX_KEYS = 1 << 16
MAX_STRING = 1 << 20
MAX_HEADER = 64 << 20
MAX_ARRAY_STRINGS = 1 << 21
"""Strings in all arrays together; a large vocabulary with its merges has half a million."""
DEFAULT_ALIGNMENT = 32
ALIGNMENTS = {1 << n for n in range(3, 17)}
STRING, ARRAY = 8, 9
FIXED = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q",
         11: "<q", 12: "<d"}
TYPES = {0: "F32", 1: "F16", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 36: "I2_S"}
OTHER_TYPES = {2: "Q4_0", 8: "Q8_0", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 38: "TL1", 39: "TL2"}
BLOCK_BYTES = {"TQ1_0": TQ1_0_BYTES, "TQ2_0": TQ2_0_BYTES}
FLOAT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True)
class Gguf:
    """What a GGUF file holds."""

    metadata: dict[str, Scalar]
    lengths: dict[str, int]
    """Length of each array by its key."""
    tensors: Tensors


class _Cursor:
    """Reads on from one place, in order, never past the end."""

    def __init__(self, file: DataFile) -> None:
        self.file = file
        self.place = 0
        self.end = min(file.size, MAX_HEADER)
        self.strings = 0
        self._data = file.read(0, self.end)

    def need(self, count: int) -> None:
        if count > self.end - self.place:
            raise self.file.wrong(
                f"{count} bytes are announced at {self.place}, where {self.end - self.place} are "
                f"left{' of those that a header may have' if self.end == MAX_HEADER else ''}")

    def take(self, count: int) -> bytes:
        self.need(count)
        self.place += count
        return self._data[self.place - count:self.place]

    def fixed(self, form: str) -> bool | int | float:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        found: bool | int | float = value
        return found

    def whole(self, form: str) -> int:
        return int(self.fixed(form))

    def string(self, what: str, most: int) -> str:
        length = self.whole("<Q")
        if length > most:
            raise self.file.wrong(f"{what} has {length} bytes; {most} is the most")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.file.wrong(f"{what} is not UTF-8") from error

    def skip_array(self, key: str) -> int:
        """Pass over an array; its length."""
        kind, length = self.whole("<I"), self.whole("<Q")
        if kind in FIXED:
            size = length * struct.calcsize(FIXED[kind])
            self.need(size)
            self.place += size
        elif kind == STRING:
            self.need(8 * length)
            self.strings += length
            if self.strings > MAX_ARRAY_STRINGS:
                raise self.file.wrong(f"its arrays hold more than {MAX_ARRAY_STRINGS} strings")
            for _ in range(length):
                size = self.whole("<Q")
                self.need(size)
                self.place += size
        elif kind == ARRAY:
            raise self.file.wrong(f"{shown(key)} is an array of arrays, which is not read")
        else:
            raise self.file.wrong(f"{shown(key)} is an array of the unknown type {kind}")
        return length


def _metadata(cursor: _Cursor, count: int) -> tuple[dict[str, Scalar], dict[str, int]]:
    values: dict[str, Scalar] = {}
    lengths: dict[str, int] = {}
    for _ in range(count):
        key = cursor.string("a key", MAX_NAME)
        if not key or key in values or key in lengths:
            raise cursor.file.wrong(f"the key {shown(key)} is empty or there twice")
        kind = cursor.whole("<I")
        if kind == STRING:
            values[key] = cursor.string(shown(key), MAX_STRING)
        elif kind == ARRAY:
            lengths[key] = cursor.skip_array(key)
        elif kind in FIXED:
            values[key] = cursor.fixed(FIXED[kind])
        else:
            raise cursor.file.wrong(f"{shown(key)} has the unknown type {kind}")
    return values, lengths


def _size(file: DataFile, name: str, dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of a tensor."""
    count = math.prod(shape)
    if dtype in FLOAT_BYTES:
        return count * FLOAT_BYTES[dtype]
    if dtype == "I2_S":
        if count % 4:
            raise file.wrong(f"tensor {shown(name)}: {count} codes of two bits do not fill bytes")
        return count // 4 + I2_S_TAIL
    if shape[-1] % GGUF_BLOCK:
        raise file.wrong(f"tensor {shown(name)}: rows of {shape[-1]} do not fill blocks of "
                         f"{GGUF_BLOCK}, as {dtype} has them")
    return count // GGUF_BLOCK * BLOCK_BYTES[dtype]


def _tensor(cursor: _Cursor, alignment: int) -> tuple[str, Entry]:
    file = cursor.file
    name = cursor.string("the name of a tensor", MAX_NAME)
    if not name or not name.isprintable():
        raise file.wrong(f"{shown(name)} is no name of a tensor")
    dims = cursor.whole("<I")
    if not 1 <= dims <= MAX_DIMS:
        raise file.wrong(f"tensor {shown(name)} has {dims} dimensions, not 1 to {MAX_DIMS}")
    sizes = [cursor.whole("<Q") for _ in range(dims)]
    shape = check_shape(file, name, sizes[::-1])
    kind, offset = cursor.whole("<I"), cursor.whole("<Q")
    if kind not in TYPES:
        raise file.wrong(f"tensor {shown(name)} has type {OTHER_TYPES.get(kind, kind)}; what is "
                         f"read is {', '.join(TYPES.values())}")
    if offset % alignment:
        raise file.wrong(f"tensor {shown(name)} at {offset} is not aligned to {alignment}")
    return name, Entry(file, TYPES[kind], shape, offset, _size(file, name, TYPES[kind], shape))


def read_gguf(path: Path) -> Gguf:
    """Read what a GGUF file says of itself, and check where its tensors lie."""
    file = DataFile(path)
    cursor = _Cursor(file)
    if file.size < 24 or cursor.take(4) != b"GGUF":
        raise file.wrong("not a GGUF file")
    version = cursor.whole("<I")
    if version not in (2, 3):
        raise file.wrong(f"GGUF version {version} is not read, only little-endian 2 and 3")
    tensors, keys = cursor.whole("<Q"), cursor.whole("<Q")
    if tensors > MAX_TENSORS or keys > MAX_KEYS:
        raise file.wrong(f"it announces {tensors} tensors and {keys} keys; {MAX_TENSORS} and "
                         f"{MAX_KEYS} are the most")
    metadata, lengths = _metadata(cursor, keys)
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment not in ALIGNMENTS:
        raise file.wrong(f"general.alignment is {shown(str(alignment))}, not a power of two from 8 "
                         "to 65536")
    listed: dict[str, Entry] = {}
    for _ in range(tensors):
        name, entry = _tensor(cursor, alignment)
        if name in listed:
            raise file.wrong(f"it names the tensor {shown(name)} twice")
        listed[name] = entry
    data = -(-cursor.place // alignment) * alignment
    check_places(file, [(e.offset, e.offset + e.size, name) for name, e in listed.items()],
                 max(0, file.size - data), gap=alignment - 1)
    entries = {name: Entry(file, e.dtype, e.shape, data + e.offset, e.size)
               for name, e in listed.items()}
    return Gguf(metadata, lengths, Tensors(path, entries))
