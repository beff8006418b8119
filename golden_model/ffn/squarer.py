# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.ffn.squarer`."""

import numpy as np

from golden_model.arrays import Ints
from golden_model.vector_config import Relu2GluConfig

__all__ = ["square"]


def square(config: Relu2GluConfig, x: Ints) -> Ints:
    """Squares of unsigned operands.

    Raises
    ------
    ValueError
        An operand does not fit its port.
    """
    if np.min(x) < 0 or np.max(x) >> config.relu_bits:
        raise ValueError(f"x must fit {config.relu_bits} unsigned bits")
    return np.asarray(x * x, np.int64)
