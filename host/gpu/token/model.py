# SPDX-License-Identifier: Apache-2.0
"""A model's constants in the GPU's memory."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats
from golden_model.config import ModelShape, Numerics
from golden_model.sparse.top_k import kept_count
from host.gpu.runtime import Array

__all__ = ["FORMATS", "Layer", "Norm", "bits", "kept", "levels_of"]

FORMATS = {"int4": 0, "int8": 1, "fp4": 2}
"""Numbers of the activation formats in the kernels."""


@dataclass(frozen=True)
class Norm:
    """Constants of one norm."""

    gains: Array
    scale: np.uint32
    eps: np.uint32


@dataclass(frozen=True)
class Layer:
    """Packed matrices, the scales of all, and the norms."""

    words: Mapping[str, Array]
    alphas: Mapping[str, np.uint32]
    norms: Mapping[str, Norm]


def bits(scale: Floats | float) -> np.uint32:
    """Return a small float as the word that a kernel takes."""
    return np.uint32(smallfloat.to_bits(np.asarray(scale)))


def levels_of(fmt: str, n: int) -> np.uint32:
    """Return what the quantiser of `n` elements divides its statistic by."""
    levels = 7 ** 0.5 * n if fmt == "int4" else 127 if fmt == "int8" else 12
    return bits(smallfloat.constant(levels))


def kept(shape: ModelShape, numerics: Numerics) -> dict[str, int]:
    """Macros that say which codes stay ahead of Wo; none where all do."""
    if numerics.topk_keep[0] == numerics.topk_keep[1]:
        return {}
    block = numerics.topk_block or shape.q_dim
    return {"KEEP": kept_count(min(block, shape.q_dim), numerics.topk_keep), "BLOCK": block,
            "LAST": kept_count(shape.q_dim % block, numerics.topk_keep)}
