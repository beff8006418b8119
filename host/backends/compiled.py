# SPDX-License-Identifier: Apache-2.0
"""Matrix products of the exact decoder, compiled by numba where it is installed.

Weights stay bytes, a quarter of what :class:`golden_model.linear.Linear` reads a token; sums are
32-bit integers, the same as any other's.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.exact import ExactDecoder
from golden_model.linear import Linear, carrier_for
from golden_model.weights import DecoderWeights

__all__ = ["CompiledDecoder", "CompiledLinear", "worth_it"]

LARGE = 1 << 20
"""Weights of a matrix from which compiling, two seconds a process, pays."""
MANY = 16
"""Tokens from which BLAS is faster, though its weights have to be made first."""


def worth_it(weights: DecoderWeights) -> bool:
    """Whether numba is installed, and the model's largest matrix large; nothing is imported."""
    largest = max(matrix.trits.size for layer in weights.layers
                  for matrix in layer.matrices.values())
    return largest >= LARGE and importlib.util.find_spec("numba") is not None


@functools.cache
def _kernel() -> Callable[..., None]:
    """Compile the product, rows shared out to all cores."""
    import numba

    def multiply(weights: Any, codes: Any, sums: Any) -> None:
        for row in numba.prange(weights.shape[0]):
            for token in range(codes.shape[0]):
                total = np.int32(0)
                for column in range(weights.shape[1]):
                    total += np.int32(weights[row, column]) * np.int32(codes[token, column])
                sums[token, row] = total

    compiled: Callable[..., None] = numba.njit(parallel=True)(multiply)
    return compiled


class CompiledLinear(Linear):
    """An integer matrix [M, K] of bytes; see :class:`golden_model.linear.Linear`.

    Raises
    ------
    ValueError
        Its sums may need more than 32 bits, or its weights more than 8.
    """

    def __init__(self, matrix: Codes, weight_peak: int, code_peak: int) -> None:
        length = matrix.shape[1]
        if weight_peak > 127 or code_peak >= 1 << 15 or length * weight_peak * code_peak >= 1 << 31:
            raise ValueError(f"a sum of {length} products up to {weight_peak} x {code_peak} "
                             "exceeds 32 bits")
        self.weights = np.ascontiguousarray(matrix, np.int8)
        self._carrier = carrier_for(length, weight_peak, code_peak)

    def __call__(self, codes: Codes) -> Ints:
        """Multiply codes [..., K] to sums [..., M]."""
        rows = codes.reshape(-1, codes.shape[-1])
        if len(rows) < MANY:
            sums = np.empty((len(rows), len(self.weights)), np.int32)
            _kernel()(self.weights, np.ascontiguousarray(rows, np.int16), sums)
        else:
            sums = np.matmul(rows.astype(self._carrier), self.weights.T.astype(self._carrier))
        return sums.reshape(*codes.shape[:-1], -1).astype(np.int64)


class CompiledDecoder(ExactDecoder):
    """The exact decoder with compiled products."""

    linear = CompiledLinear
