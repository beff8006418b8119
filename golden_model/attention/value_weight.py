# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.value_weight`."""

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.attention.softmax import exp2_weights

__all__ = ["common_exponent", "value_weights"]


def common_exponent(scale: Floats) -> int:
    """Largest exponent of the value rows' scales [T] that are not zero; the least if all are."""
    present = scale > 0
    if not present.any():
        return smallfloat.EXPONENT_MIN
    return int(smallfloat.exponent(scale[present]).max())


def value_weights(distance: Ints, scale: Floats, exponent: int) -> tuple[Ints, Ints]:
    """Softmax weights and value weights [..., T].

    Parameters
    ----------
    distance
        How far log scores [..., T] lie below the largest.
    scale
        KV scales of the value rows [T].
    exponent
        Their `common_exponent`.
    """
    p = exp2_weights(distance)
    w = np.rint(p * np.ldexp(scale, -8 - exponent))
    return p, w.astype(np.int64)
