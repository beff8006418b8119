# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.ffn.product_buffer`: beats, and every handshake."""

import numpy as np

from golden_model.arrays import Ints
from golden_model.ffn_config import ProductBufferConfig

__all__ = ["BufferCycles", "beats"]


def beats(config: ProductBufferConfig, n: int, index: Ints, words: Ints) -> Ints:
    """Beats [ceil(n / lanes), lanes] of one pass: `words` where `index` says, else zeros."""
    dense = np.zeros(-(-n // config.lanes) * config.lanes, np.int64)
    dense[index] = words
    return dense.reshape(-1, config.lanes)


class BufferCycles:
    """Handshakes, cycle by cycle; an item is the index of a word, or None at the end."""

    def __init__(self, config: ProductBufferConfig) -> None:
        self.config = config
        self.valid = False
        """``o.valid`` in this cycle."""
        self._restart()

    def _restart(self) -> None:
        self.known = False  # the command was on offer in the cycle before
        self.written = 0
        self.complete = False
        self.read = 0  # beats of both passes

    def i_ready(self, n: int, item: int | None) -> bool:
        """``i.ready`` in this cycle, for the item on ``i``."""
        if self.complete or not self.known:
            return False
        if item is None:
            return self.written == -(-n // self.config.lanes) - 1
        return item // self.config.lanes - self.written in (0, 1)

    def last(self, n: int) -> bool:
        """``o.payload.last``, if valid."""
        return self.read % -(-n // self.config.lanes) == 0

    def done(self, n: int, o_ready: bool) -> bool:
        """``i_command.ready`` in this cycle."""
        return self.valid and o_ready and self.read == 2 * -(-n // self.config.lanes)

    def tick(self, n: int | None, i_valid: bool, item: int | None, o_ready: bool) -> None:
        """Go on to the next cycle, with `n` words on ``i_command`` if not None."""
        if n is None:
            return
        count, done = -(-n // self.config.lanes), self.done(n, o_ready)
        written, complete = self.written, self.complete
        if i_valid and self.known and not complete and (item is None
                                         or item // self.config.lanes != self.written):
            self.written += 1
            self.complete = self.written == count
        step = ((complete or self.read < written) and self.read < 2 * count
                and (o_ready or not self.valid))
        if step:
            self.read += 1
        self.valid = step or (self.valid and not o_ready)
        self.known = True
        if done:
            self._restart()
