# SPDX-License-Identifier: Apache-2.0
"""The packed model file: trained weights to ``tritforge-model-1`` and back into a decoder.

``docs/model-format.md`` describes the file.  Loading gives the same module that was trained, with
its trits and scales in place of latent weights, so that its logits can be compared with those of
the golden model.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor

from golden_model.config import ModelShape, Numerics
from host.train.model import Decoder, Projection, RMSNorm
from host.train.scheme import Scheme

__all__ = ["load_packed", "pack_planes", "residual_frac", "save_packed", "unpack_planes"]

FORMAT = "tritforge-model-1"
RESIDUAL_BITS = 24
HEADROOM = 4
TRITS_PER_BYTE = 5
PLACES = 3 ** np.arange(TRITS_PER_BYTE)

Trits = NDArray[np.int64]


def pack_planes(codes: Trits, planes: int) -> NDArray[np.uint8]:
    """Codes [n] of `planes` balanced trits each, as base-3 bytes, one plane after another.

    Plane 0 holds the least significant trits.  Within a plane five trits share a byte, the first
    one least significant; the last byte is filled up with zero trits.
    """
    packed = []
    rest = codes.astype(np.int64)
    for _ in range(planes):
        trits = (rest + 1) % 3 - 1
        rest = (rest - trits) // 3
        digits = np.pad(trits + 1, (0, -len(trits) % TRITS_PER_BYTE), constant_values=1)
        packed.append(digits.reshape(-1, TRITS_PER_BYTE) @ PLACES)
    if rest.any():
        raise ValueError(f"a code is outside the range of {planes} trits")
    return np.concatenate(packed).astype(np.uint8)


def unpack_planes(packed: NDArray[np.uint8], planes: int, n: int) -> Trits:
    """Codes int64 [n]: the inverse of :func:`pack_planes`."""
    digits = packed.astype(np.int64)[:, None] // PLACES % 3 - 1
    trits = digits.reshape(planes, -1)[:, :n]
    return (3 ** np.arange(planes)) @ trits


def residual_frac(peak: float) -> int:
    """Fraction bits of a 24-bit signed word that holds four times the magnitude `peak`."""
    return RESIDUAL_BITS - 1 - math.ceil(math.log2(HEADROOM * peak))


def _numerics(scheme: Scheme) -> Numerics:
    """Translate a scheme into the golden model's switches."""
    kept = float(scheme.keep).as_integer_ratio()
    return Numerics(act_format=scheme.activations, topk_keep=kept, kv_bits=scheme.kv_bits,
                    bos_bits=scheme.bos_bits, q_bits=scheme.q_bits)


def save_packed(path: Path, model: Decoder, scheme: Scheme, peak: float) -> dict[str, str]:
    """Write the packed model, atomically; its metadata.

    Parameters
    ----------
    path
        Destination.
    model
        Trained decoder.
    scheme
        What it was trained for; needs the embedding in trits.
    peak
        Largest magnitude of the residual stream, see :func:`residual_frac`.

    Raises
    ------
    ValueError
        The scheme does not quantise the embedding.
    """
    if not scheme.trit_embedding:
        raise ValueError("only a model with its embedding in trits can be packed")
    tensors: dict[str, NDArray[Any]] = {}
    for name, module in model.named_modules():
        if isinstance(module, Projection):
            trits, alpha = module.quantized()
            tensors[f"{name}.trits"] = pack_planes(_integers(trits), 1)
            tensors[f"{name}.scale"] = _vector(alpha)
        elif isinstance(module, RMSNorm):
            tensors[f"{name}.gain"] = _vector(module.gain)
    codes, scale = model.quantized_embedding(scheme.embedding_range)
    tensors["embedding.trits"] = pack_planes(_integers(codes), 3)
    tensors["embedding.scale"] = _vector(scale)
    metadata = {
        "format": FORMAT,
        "shape": json.dumps(dataclasses.asdict(model.shape), sort_keys=True),
        "numerics": json.dumps(dataclasses.asdict(_numerics(scheme)), sort_keys=True),
        "residual_frac": str(residual_frac(peak)),
    }
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata)
    partial.replace(path)
    return metadata


def _integers(codes: Tensor) -> Trits:
    return codes.detach().double().cpu().numpy().reshape(-1).astype(np.int64)


def _vector(value: Tensor) -> NDArray[np.float32]:
    return value.detach().float().cpu().numpy().reshape(-1)


def load_packed(path: Path, dtype: torch.dtype = torch.float32) -> tuple[Decoder, Scheme]:
    """Load a decoder for inference in `dtype`, and the scheme to call it with.

    Reads files that this package wrote; untrusted ones are for ``host.model_file``.
    """
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    shape = ModelShape(**json.loads(metadata["shape"]))
    numerics = json.loads(metadata["numerics"])
    kept, of = numerics["topk_keep"]
    scheme = Scheme(activations=numerics["act_format"], keep=kept / of, trit_embedding=True,
                    kv_bits=numerics["kv_bits"], bos_bits=numerics["bos_bits"],
                    q_bits=numerics["q_bits"])
    model = Decoder(shape).to(dtype)
    for name, module in model.named_modules():
        if isinstance(module, Projection):
            codes = unpack_planes(tensors[f"{name}.trits"], 1, module.weight.numel())
            module.freeze(torch.from_numpy(codes).view_as(module.weight),
                          torch.from_numpy(tensors[f"{name}.scale"]).to(dtype))
        elif isinstance(module, RMSNorm):
            module.gain.data = torch.from_numpy(tensors[f"{name}.gain"]).to(dtype)
    codes = unpack_planes(tensors["embedding.trits"], 3, shape.vocab * shape.hidden)
    model.freeze_embedding(torch.from_numpy(codes).view(shape.vocab, shape.hidden),
                           torch.from_numpy(tensors["embedding.scale"]).to(dtype))
    return model.eval().requires_grad_(False), scheme
