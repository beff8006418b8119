# SPDX-License-Identifier: Apache-2.0
"""Place of every tensor in a safetensors file, or in the shards that an index names.

Stricter than the format's own reader: names are unique, tensors neither overlap nor leave a hole,
none is empty.
"""

import json
import math
import struct
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from host.errors import UserError
from host.importing.files import (
    MAX_NAME,
    MAX_TENSORS,
    DataFile,
    Entry,
    Tensors,
    check_places,
    check_shape,
    read_small,
    shown,
)

__all__ = ["parse_json", "read_safetensors", "read_sharded"]

MAX_HEADER = 16 << 20
MAX_INDEX = 16 << 20
MAX_SHARDS = 512
BYTES = {"U8": 1, "I8": 1, "BOOL": 1, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "F32": 4, "I32": 4,
         "U32": 4, "F64": 8, "I64": 8, "U64": 8}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it names {shown(key)} twice")
        found[key] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def parse_json(raw: bytes, where: str) -> dict[str, Any]:
    """JSON object of unique keys; `where` begins the error."""
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique,
                              parse_constant=_no_constant)
    except RecursionError as error:
        raise UserError(f"{where} is not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        text = str(error) if type(error) is ValueError else type(error).__name__
        raise UserError(f"{where} is not JSON that can be read: {text[:160]}") from error
    if not isinstance(document, dict):
        raise UserError(f"{where} is not a JSON object")
    return document


def _entry(file: DataFile, name: str, fields: Any, data: int) -> Entry:
    if not isinstance(fields, dict) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise file.wrong(f"tensor {shown(name)} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BYTES:
        raise file.wrong(f"tensor {shown(name)} has the unknown type {shown(str(dtype))}")
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise file.wrong(f"tensor {shown(name)} is not described by lists of integers")
    begin, end = offsets
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
        raise file.wrong(f"tensor {shown(name)} has no range of bytes")
    dims = check_shape(file, name, shape)
    if end - begin != math.prod(dims) * BYTES[dtype]:
        raise file.wrong(f"tensor {shown(name)}, {dtype}{list(dims)}, takes "
                         f"{math.prod(dims) * BYTES[dtype]} bytes, not {end - begin}")
    return Entry(file, dtype, dims, data + begin, end - begin)


def _entries(file: DataFile) -> dict[str, Entry]:
    if file.size < 8:
        raise file.wrong(f"{file.size} bytes are too few for a safetensors file")
    (length,) = struct.unpack("<Q", file.read(0, 8))
    if not 2 <= length <= file.size - 8:
        raise file.wrong(f"not a safetensors file: its header would have {length} of its "
                         f"{file.size} bytes")
    if length > MAX_HEADER:
        raise file.wrong(f"its header has {length} bytes; {MAX_HEADER} is the most")
    header = parse_json(file.read(8, length), f"{file.path}: the header")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise file.wrong("its metadata is not a JSON object")
    if len(header) > MAX_TENSORS:
        raise file.wrong(f"it names {len(header)} tensors; {MAX_TENSORS} is the most")
    if not header:
        raise file.wrong("it holds no tensor")
    data = 8 + length
    entries = {}
    for name, fields in header.items():
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise file.wrong(f"{shown(name)} is no name of a tensor")
        entries[name] = _entry(file, name, fields, data)
    places = [(e.offset - data, e.offset - data + e.size, name) for name, e in entries.items()]
    check_places(file, places, file.size - data, gap=0)
    return entries


def read_safetensors(path: Path) -> Tensors:
    """Tensors of one file."""
    return Tensors(path, _entries(DataFile(path)))


def read_sharded(index: Path) -> Tensors:
    """Tensors of the files that an index names, all of them beside the index."""
    document = parse_json(read_small(index, MAX_INDEX), str(index))
    names = document.get("weight_map")
    if not isinstance(names, dict) or not names:
        raise UserError(f"{index}: it has no weight_map")
    shards = {shard for shard in names.values() if isinstance(shard, str)}
    if not all(isinstance(shard, str) for shard in names.values()) or len(shards) > MAX_SHARDS:
        raise UserError(f"{index}: weight_map must name at most {MAX_SHARDS} files")
    entries: dict[str, Entry] = {}
    for shard in sorted(shards):
        if PurePosixPath(shard).name != shard or shard in (".", "..") or not shard.isprintable():
            raise UserError(f"{index}: {shown(shard)} is not the name of a file beside it")
        for name, entry in _entries(DataFile(index.parent / shard)).items():
            if names.get(name) != shard:
                raise UserError(f"{index}: tensor {shown(name)} of {shown(shard)} is not as "
                                "weight_map has it")
            entries[name] = entry
    if missing := sorted(set(names) - set(entries)):
        raise UserError(f"{index}: tensor {shown(missing[0])} is in no file")
    return Tensors(index, entries)
