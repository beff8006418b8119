# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.code_encoder`."""

import numpy as np

from golden_model.arrays import Floats, Ints
from golden_model.quant.activations import PEAK, round_e2m1

__all__ = ["encode"]


def encode(value: Floats, fmt: str) -> Ints:
    """Nearest codes of real values, saturated; `fmt` is ``int4``, ``fp4`` or ``int8``."""
    if fmt == "fp4":
        return round_e2m1(value).astype(np.int64)
    return np.clip(np.rint(value), -PEAK[fmt], PEAK[fmt] - 1).astype(np.int64)
