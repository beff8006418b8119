# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.ffn.code_packer`: words, and every handshake."""

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.ffn_config import CodePackerConfig

__all__ = ["PackerCycles", "words"]


def words(config: CodePackerConfig, codes: Codes) -> Ints:
    """Words [ceil(K / width), width] of a vector [K], the last one filled up with zeros."""
    padded = np.pad(codes.astype(np.int64), (0, -codes.size % config.width))
    return padded.reshape(-1, config.width)


class PackerCycles:
    """Handshakes, cycle by cycle."""

    def __init__(self, config: CodePackerConfig) -> None:
        self.config = config
        self.valid = False
        """``o.valid`` in this cycle."""
        self.beat = 0

    def ready(self, o_ready: bool) -> bool:
        """``i.ready`` in this cycle."""
        return o_ready or not self.valid

    def tick(self, i_valid: bool, last: bool, o_ready: bool) -> None:
        """Go on to the next cycle, with a beat on ``i`` that ends the vector or not."""
        if not self.ready(o_ready):
            return
        self.valid = False
        if i_valid:
            self.valid = last or self.beat == self.config.beats - 1
            self.beat = 0 if self.valid else self.beat + 1
