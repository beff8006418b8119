# SPDX-License-Identifier: Apache-2.0
"""Integer softmax weights: powers of two from one table and a shift.

The codes that weigh value rows come from them in :mod:`golden_model.attention.attention`; cycles of
:mod:`hw.attention.softmax` are in :mod:`golden_model.attention.softmax_cycles`.
"""

import numpy as np

from golden_model.arrays import Ints
from golden_model.formats import round_shift

__all__ = ["EXP2_TABLE", "FRACTION_BITS", "WEIGHT_ONE", "exp2_weights"]

FRACTION_BITS = 8
"""Fraction bits of a score, which is in units of log2."""
WEIGHT_ONE = 1 << 15
"""Weight of the largest score."""

EXP2_TABLE: Ints = np.rint(WEIGHT_ONE * 2.0 ** (-np.arange(1 << FRACTION_BITS) / 256)).astype(
    np.int64)
"""``round(2**15 * 2**(-f / 256))`` for f = 0..255."""

# Every weight that is not zero lies below this distance: 2**15 shifted by 16 places rounds to zero.
_REACH = 16 << FRACTION_BITS
_distance = np.arange(_REACH + 1)
_WEIGHTS = round_shift(EXP2_TABLE[_distance & 255], _distance >> FRACTION_BITS)


def exp2_weights(distance: Ints) -> Ints:
    """``2**15 * 2**(-distance / 256)`` for distances >= 0 below the largest score.

    The table's entry is shifted right by ``distance >> 8`` with rounding to nearest, ties to even;
    weights lie in 0..32768.
    """
    return _WEIGHTS[np.minimum(distance, _REACH)]
