# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.vector.residual_add`."""

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.config import WORD_BITS
from golden_model.formats import saturate
from golden_model.vector_config import ResidualAddConfig

__all__ = ["cycles", "residual_add"]


def residual_add(x: Ints, y: Ints, scale: Floats, shift: Ints) -> Ints:
    """Words [beats, lanes] of words and sums [beats, lanes], small floats and shifts [beats]."""
    addend = smallfloat.scale_int(y, scale[:, None], shift[:, None], WORD_BITS)
    return saturate(x + addend, WORD_BITS)


def cycles(config: ResidualAddConfig, n: int) -> int:
    """Cycles from the first transfer on ``i`` to the last on ``o`` of `n` words, unstalled."""
    return -(-n // config.lanes) - 1 + config.latency
