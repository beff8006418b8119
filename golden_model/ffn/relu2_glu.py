# SPDX-License-Identifier: Apache-2.0
"""ReLU^2 GLU: ``max(gate, 0)**2 * up`` (equation 5 of arXiv:2411.04965)."""

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.config import WORD_BITS
from golden_model.formats import round_shift, saturate
from golden_model.vector_config import Relu2GluConfig

__all__ = ["check_widths", "cycles", "relu2_glu", "relu2_glu_float"]


def check_widths(peak: int) -> None:
    """Refuse (``ValueError``) a bound on the projections' sums whose cube overflows int64."""
    if peak ** 3 > 1 << 60:
        raise ValueError(f"gate and up sums must stay within {1 << 20}, not reach {peak}: lower "
                         "hidden or take a narrower activation format")


def relu2_glu_float(gate: Floats, up: Floats) -> Floats:
    """Product of real projections."""
    return np.square(np.maximum(gate, 0)) * up


def relu2_glu(gate: Ints, up: Ints, gate_scale: Floats, up_scale: Floats,
              peak: int) -> tuple[Ints, Floats]:
    """24-bit words [..., n] and their small-float scale [...].

    The shift comes from the largest gate sum of the token and from the bound on `up`, so that it is
    known before the first up row is.

    Parameters
    ----------
    gate, up
        Integer projection sums [..., n].
    gate_scale, up_scale
        Small floats [...].
    peak
        Bound on ``|up|``: largest activation code times the input's length.
    """
    relu = np.maximum(gate, 0)
    gate_bits = np.frexp(relu.max(axis=-1).astype(np.float64))[1].astype(np.int64)
    by = np.maximum(2 * gate_bits + peak.bit_length() - (WORD_BITS - 1), 0)
    words = saturate(round_shift(relu * relu * up, by[..., None]), WORD_BITS)
    scale = smallfloat.mul(smallfloat.mul(gate_scale, gate_scale), up_scale)
    return words, smallfloat.shift(scale, by)


def cycles(config: Relu2GluConfig, n: int) -> int:
    """Cycles from the first transfer on ``i`` to the last on ``o`` of `n` words, unstalled."""
    return config.interval * (-(-n // config.lanes) - 1) + config.latency
