# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.rounding_shifter`."""

from typing import NamedTuple

from golden_model.quant_config import RoundingShifterConfig

__all__ = ["Shifted", "shift_right"]


class Shifted(NamedTuple):
    """Floor's low bits and what rounding and saturation need."""

    window: int
    half: int
    sticky: int
    over: int


def shift_right(config: RoundingShifterConfig, value: int, places: int) -> Shifted:
    """Floor of ``value * 2**-(fraction_bits + places)``; `sticky` counts where `half` is set."""
    if places >= 64:
        return Shifted(0, 0, 0, 0)
    scaled = value << max(0, -config.fraction_bits)
    down = max(0, config.fraction_bits) + places
    floor = scaled >> down
    dropped = scaled - (floor << down)
    half = dropped >> down - 1 & 1 if down else 0
    low = floor & (1 << config.window_bits) - 1
    if config.signed:
        low -= (low >> config.window_bits - 1) << config.window_bits
    return Shifted(low, half, int(dropped - (half << max(0, down - 1)) > 0), int(low != floor))
