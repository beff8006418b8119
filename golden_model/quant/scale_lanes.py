# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.scale_lanes`."""

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.quant_config import ScaleLanesConfig

__all__ = ["cycles", "scale_lanes"]


def scale_lanes(config: ScaleLanesConfig, y: Ints, scale: Floats, shift: Ints) -> Ints:
    """Words [beats, lanes] of integers [beats, lanes], small floats [beats] and shifts [beats]."""
    return smallfloat.scale_int(y, scale[:, None], shift[:, None], config.out_bits)


def cycles(config: ScaleLanesConfig, beats: int) -> int:
    """Cycles from the first transfer on ``i`` to the last on ``o``, without stalls."""
    return beats - 1 + config.latency
