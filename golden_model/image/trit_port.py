# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.trit_port`."""

import numpy as np

from golden_model.image_config import TritPortConfig
from golden_model.mac.trit_unpacker import trit_unpacker

__all__ = ["unpacked"]


def unpacked(config: TritPortConfig, beat: int) -> tuple[int, list[int]]:
    """Bits of a beat, and its trits in order."""
    size = -(-config.port.beat_bits // 8)
    content = np.frombuffer(beat.to_bytes(size, "little"), np.uint8)
    trits: list[int] = trit_unpacker(config.unpacker, content[None])[0].tolist()
    return beat, trits
