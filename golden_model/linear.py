# SPDX-License-Identifier: Apache-2.0
"""Exact integer matrix products at BLAS speed.

A float32 represents every integer up to 2**24, and a product or sum of integers that stays within
that bound is exact; if the sum of all *magnitudes* stays below it, so does every partial sum, in
whatever order and with or without fused multiply-add.  So float32 BLAS gives the integer result,
bit for bit, on every machine.  Where the bound does not hold, float64 (2**53) does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes, Ints

__all__ = ["Carrier", "Linear", "carrier_for"]

Carrier = type[np.float32] | type[np.float64]
"""Floating-point type that carries integers exactly."""


def carrier_for(length: int, peak_a: int, peak_b: int) -> Carrier:
    """Smallest type whose integers hold every sum of `length` products.

    Raises
    ------
    ValueError
        Not even float64 does.
    """
    peak = length * peak_a * peak_b
    if peak < 1 << 24:
        return np.float32
    if peak < 1 << 53:
        return np.float64
    raise ValueError(f"a sum of {length} products up to {peak_a} x {peak_b} exceeds 2**53")


class Linear:
    """An integer matrix [M, K] that multiplies activation codes.

    Parameters
    ----------
    matrix
        Integer weights [M, K].
    weight_peak
        Bound on their magnitude: 1 for trits, 13 for three trits.
    code_peak
        Bound on the activation codes' magnitude.
    """

    def __init__(self, matrix: Codes, weight_peak: int, code_peak: int) -> None:
        carrier = carrier_for(matrix.shape[1], weight_peak, code_peak)
        self.transposed: NDArray[Any] = np.ascontiguousarray(
            matrix.T.astype(carrier))

    def __call__(self, codes: Codes) -> Ints:
        """Multiply codes [..., K] to sums [..., M]."""
        rows = codes.reshape(-1, codes.shape[-1]).astype(self.transposed.dtype)
        sums = np.matmul(rows, self.transposed).astype(np.int64)
        return np.asarray(sums.reshape(*codes.shape[:-1], -1))
