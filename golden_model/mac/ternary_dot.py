# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.mac.ternary_dot`."""

import numpy as np
from numpy.typing import ArrayLike

from golden_model.arrays import Ints
from golden_model.config import TernaryDotConfig

__all__ = ["ternary_dot"]


def ternary_dot(config: TernaryDotConfig, w: ArrayLike, x: ArrayLike) -> Ints:
    """Sum ``w * x`` over the last axis, exactly; the spare weight code -2 counts as 0.

    Raises
    ------
    ValueError
        The last axis is not ``config.lanes`` long.
    """
    weights, digits = np.asarray(w, np.int64), np.asarray(x, np.int64)
    for name, operand in (("w", weights), ("x", digits)):
        if operand.shape[-1:] != (config.lanes,):
            raise ValueError(f"{name} must have {config.lanes} lanes, not shape {operand.shape}")
    sums: Ints = (np.where(weights == -2, 0, weights) * digits).sum(axis=-1)
    return sums
