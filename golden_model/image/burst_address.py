# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.burst_address`."""

from golden_model.image.block_memory import Burst
from golden_model.image_config import BurstAddressConfig

__all__ = ["burst"]


def burst(config: BurstAddressConfig, base: int, beats: int, index: int) -> Burst:
    """Burst of row or column `index` of a matrix at `base`, `beats` beats each."""
    return Burst((base + index * beats) % (1 << config.port.address_bits), beats)
