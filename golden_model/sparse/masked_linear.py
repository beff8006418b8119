# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.sparse.masked_linear`: the values; its cycles are beside it."""

from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Codes, Floats, Ints
from golden_model.quant.norm_quantiser import norm_quantise
from golden_model.quant.rms_norm import FixedNorm
from golden_model.sparse.sparse_product import sparse_product
from golden_model.sparse.top_k import top_k_mask
from golden_model.sparse_config import MaskedLinearConfig

__all__ = ["MaskedVector", "masked_codes", "masked_linear"]


class MaskedVector(NamedTuple):
    """One vector and what is to be done with it."""

    x: Ints
    """Words [n]."""
    scale: Floats
    norm: FixedNorm | None = None
    keep: tuple[int, int] | None = None
    """Kept share; without one, all codes count."""
    block: int = 0
    """Elements that are selected together; 0 stands for all."""
    fmt: str = "int8"


def masked_codes(vector: MaskedVector) -> tuple[Codes, Floats]:
    """Codes [n], zero where they are masked, and their scale."""
    codes, scale = norm_quantise(vector.x, vector.scale, vector.norm, vector.fmt)
    if vector.keep is not None:
        codes = codes * top_k_mask(np.abs(codes.astype(np.int64)), vector.keep, vector.block)
    return codes, scale


def masked_linear(config: MaskedLinearConfig, vector: MaskedVector, weights: Codes,
                  alpha: Floats) -> tuple[Ints, Floats]:
    """Return sums [blocks, width] for weights [M, n], filled up with zeros, and their scale."""
    codes, scale = masked_codes(vector)
    return sparse_product(config.product, codes, weights), smallfloat.mul(scale, alpha)
