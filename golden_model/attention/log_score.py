# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.log_score`."""

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints

__all__ = ["log_scores"]


def log_scores(sums: Ints, unit: Floats, scale: Floats) -> Ints:
    """Words ``scale_int(S, mul(unit, scale))``: units of log2, 8 fraction bits.

    Parameters
    ----------
    sums
        Scores.
    unit
        Small floats ``mul(s_q, score_scale)`` that broadcast against them.
    scale
        KV scales of the rows.
    """
    return smallfloat.scale_int(sums, smallfloat.mul(unit, scale))
