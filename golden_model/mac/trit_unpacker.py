# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.mac.trit_unpacker`."""

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes
from golden_model.config import TRITS_PER_BYTE, UnpackerConfig

__all__ = ["UnpackerCycles", "trit_unpacker"]


def trit_unpacker(config: UnpackerConfig, beats: NDArray[np.uint8]) -> Codes:
    """Trits [beats, trits] of packed beats [beats, bytes], whatever the bytes hold.

    Bits above ``packed_bits`` of a beat's last byte are ignored.
    """
    if config.packing == "2bit":
        codes = beats[..., None] >> np.arange(0, 8, 2, dtype=np.uint8) & 3
        trits = np.array([0, 1, -2, -1], np.int8)[codes]
    else:
        powers = 3 ** np.arange(TRITS_PER_BYTE)
        trits = (beats[..., None] // powers % 3 - 1).astype(np.int8)
    flat: Codes = trits.reshape(len(beats), -1)[:, :config.trits]
    return flat


class UnpackerCycles:
    """Handshakes of the unpacker, cycle by cycle: a register that is free when its beat leaves."""

    def __init__(self) -> None:
        self.valid = False
        """``o.valid`` in this cycle."""

    def ready(self, o_ready: bool) -> bool:
        """``i.ready`` in this cycle."""
        return o_ready or not self.valid

    def tick(self, i_valid: bool, o_ready: bool) -> None:
        """Go on to the next cycle."""
        if self.ready(o_ready):
            self.valid = i_valid
