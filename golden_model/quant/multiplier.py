# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.multiplier`."""

import numpy as np

from golden_model.arrays import Ints
from golden_model.quant_config import MultiplierConfig

__all__ = ["multiply"]


def multiply(config: MultiplierConfig, a: Ints, b: Ints) -> Ints:
    """Products of signed operands.

    Raises
    ------
    ValueError
        An operand does not fit its port.
    """
    for name, values, bits in (("a", a, config.a_bits), ("b", b, config.b_bits)):
        peak = 1 << bits - 1
        if np.min(values) < -peak or np.max(values) >= peak:
            raise ValueError(f"{name} must fit {bits} signed bits")
    return np.asarray(a * b, np.int64)
