# SPDX-License-Identifier: Apache-2.0
"""Read and write a packed model: safetensors in, :class:`golden_model.weights.DecoderWeights` out.

The layout (``tritforge-model-1``) is described in ``docs/model-format.md``.  Files are untrusted:
whatever is wrong with one is a :class:`ModelFileError` of one sentence.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from golden_model import formats
from golden_model.config import ModelShape, Numerics
from golden_model.weights import (
    SUB_NORMS,
    DecoderWeights,
    LayerWeights,
    TernaryMatrix,
    gain_widths,
)

__all__ = ["FORMAT", "ModelFileError", "load_model", "save_model"]

FORMAT = "tritforge-model-1"
MAX_FILE_BYTES = 4 << 30
MAX_HEADER_BYTES = 16 << 20


class ModelFileError(ValueError):
    """A model file that cannot be used; the message names the file and what is wrong."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a JSON object that names a key twice (the safetensors reader lets it pass)."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ModelFileError(f"the header names {twice[:80]!r} twice")
    return dict(pairs)


def _read_header(raw: bytes) -> dict[str, Any]:
    """Parse the JSON header of a safetensors file held in memory, within bounds."""
    if len(raw) < 8:
        raise ModelFileError(f"{len(raw)} bytes are too few for a safetensors file")
    (length,) = struct.unpack("<Q", raw[:8])
    if length > min(MAX_HEADER_BYTES, len(raw) - 8):
        raise ModelFileError(f"the header claims {length} bytes, the file holds {len(raw) - 8}")
    try:
        header = json.loads(raw[8:8 + length].decode(), object_pairs_hook=_unique)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelFileError(f"the header is not JSON ({type(error).__name__})") from error
    if not isinstance(header, dict):
        raise ModelFileError("the header is not a JSON object")
    return header


def _metadata(header: dict[str, Any]) -> tuple[ModelShape, Numerics, int]:
    """Shape, numerics and residual fraction bits from the header's metadata."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise ModelFileError(f"its format is {found!r}, not {FORMAT!r}")
    try:
        numerics = json.loads(metadata["numerics"])
        if isinstance(numerics.get("topk_keep"), list):
            numerics["topk_keep"] = tuple(numerics["topk_keep"])
        shape = ModelShape(**json.loads(metadata["shape"]))
        return shape, Numerics(**numerics), int(metadata["residual_frac"])
    except KeyError as error:
        raise ModelFileError(f"the metadata lacks {error.args[0]!r}") from error
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"the metadata cannot be used: {error}") from error


class _Tensors:
    """Tensors taken one by one, each checked; what is left over at the end is an error."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        self.left = tensors

    def take(self, name: str, dtype: type, size: int) -> np.ndarray:
        """Vector `name` of `size` elements of `dtype`."""
        if name not in self.left:
            raise ModelFileError(f"tensor {name!r} is missing")
        value = self.left.pop(name)
        if value.dtype != dtype or value.shape != (size,):
            raise ModelFileError(f"tensor {name!r} is {value.dtype}{list(value.shape)}, not "
                                 f"{np.dtype(dtype).name}[{size}]")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ModelFileError(f"tensor {name!r} holds a value that is not finite")
        return value

    def scale(self, name: str) -> float:
        """Positive normal float32 scalar."""
        value = float(self.take(name, np.float32, 1)[0])
        if value < float(np.finfo(np.float32).tiny):
            raise ModelFileError(f"scale {name!r} is {value}, not a positive normal number")
        return value

    def gain(self, name: str, size: int) -> np.ndarray:
        """RMSNorm gain as float64 [size]."""
        return self.take(name, np.float32, size).astype(np.float64)

    def trits(self, name: str, rows: int, columns: int) -> np.ndarray:
        """Ternary matrix int8 [rows, columns] from base-3 bytes."""
        packed = self.take(name, np.uint8, math.ceil(rows * columns / 5))
        try:
            return formats.unpack_base3(packed, rows * columns).reshape(rows, columns)
        except ValueError as error:
            raise ModelFileError(f"tensor {name!r}: {error}") from error


def _decode(raw: bytes) -> DecoderWeights:
    header = _read_header(raw)
    shape, numerics, residual_frac = _metadata(header)
    try:
        tensors = _Tensors(load(raw))
    except (SafetensorError, ValueError, KeyError, OverflowError) as error:
        raise ModelFileError(f"not a sound safetensors file: {error}") from error
    widths = gain_widths(shape, any(name.split(".")[-2] in SUB_NORMS for name in tensors.left
                                    if name.endswith(".gain")))
    layers = tuple(
        LayerWeights(
            matrices={p: TernaryMatrix(trits=tensors.trits(f"layers.{i}.{p}.trits", m, k),
                                       scale=tensors.scale(f"layers.{i}.{p}.scale"))
                      for p, (m, k) in shape.projections.items()},
            gains={g: tensors.gain(f"layers.{i}.{g}.gain", n) for g, n in widths.items()})
        for i in range(shape.layers))
    bytes_per_plane = math.ceil(shape.vocab * shape.hidden / 5)
    packed = tensors.take("embedding.trits", np.uint8, 3 * bytes_per_plane)
    try:
        codes = formats.unpack_three_trits(packed, shape.vocab * shape.hidden)
    except ValueError as error:
        raise ModelFileError(f"tensor 'embedding.trits': {error}") from error
    weights = DecoderWeights(
        shape=shape, numerics=numerics, residual_frac=residual_frac,
        embedding=codes.reshape(shape.vocab, shape.hidden),
        embedding_scale=tensors.scale("embedding.scale"),
        final_gain=tensors.gain("final_norm.gain", shape.hidden), layers=layers)
    if tensors.left:
        raise ModelFileError(f"tensor {min(tensors.left)!r} does not belong to this model")
    return weights


def load_model(path: Path) -> DecoderWeights:
    """Load a packed model.

    Raises
    ------
    ModelFileError
        The file is missing, truncated, of another format, or holds values that cannot be used.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise ModelFileError(f"{path}: not a regular file")
        if size > MAX_FILE_BYTES:
            raise ModelFileError(f"{path}: {size} bytes are more than {MAX_FILE_BYTES}")
        return _decode(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror}") from error
    except ModelFileError as error:
        text = str(error)
        raise ModelFileError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}") from error


def _ordered(raw: bytes) -> bytes:
    """Sort the metadata of a safetensors file, which its writer leaves in random order."""
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + raw[8 + length:]


def save_model(path: Path, weights: DecoderWeights) -> None:
    """Write a packed model, atomically; the same model gives the same bytes.

    Parameters
    ----------
    path
        Destination; replaced only once the whole file is on disk.
    weights
        The model; its float gains and scales are stored as float32.
    """
    tensors: dict[str, np.ndarray] = {}
    for i, layer in enumerate(weights.layers):
        for p, matrix in layer.matrices.items():
            tensors[f"layers.{i}.{p}.trits"] = formats.pack_base3(matrix.trits.reshape(-1))
            tensors[f"layers.{i}.{p}.scale"] = np.array([matrix.scale], np.float32)
        for g, gain in layer.gains.items():
            tensors[f"layers.{i}.{g}.gain"] = gain.astype(np.float32)
    tensors["final_norm.gain"] = weights.final_gain.astype(np.float32)
    tensors["embedding.trits"] = formats.pack_three_trits(weights.embedding.reshape(-1))
    tensors["embedding.scale"] = np.array([weights.embedding_scale], np.float32)
    metadata = {
        "format": FORMAT,
        "shape": json.dumps(vars(weights.shape), sort_keys=True),
        "numerics": json.dumps(vars(weights.numerics), sort_keys=True),
        "residual_frac": str(weights.residual_frac),
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(_ordered(save(tensors, metadata)))
    partial.replace(path)
