# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.accelerator` by tokens: sequences of several slots, one start each."""

from collections.abc import Callable

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.control import token_loop
from golden_model.control.sequences import Sequence
from golden_model.control.token_loop import Facts, Read, Start

__all__ = ["Accelerator"]


class Accelerator:
    """What each start reads and generates, and what is left of each sequence.

    Parameters
    ----------
    read
        The decoder: slot, token, position, whether its successor is not wanted; gives that.
    """

    def __init__(self, config: AcceleratorConfig, facts: Facts,
                 read: Callable[[int, int, int, bool], int | None]) -> None:
        self.config = config
        self.facts = facts
        self.read = read
        self.slots = [Sequence() for _ in range(config.token_loop.slots)]

    def start(self, start: Start, slot: int = 0) -> tuple[list[Read], str | None]:
        """Run one start: the tokens that it reads, and the error that ended it."""
        reads, self.slots[slot], error = token_loop.run(
            self.facts, self.slots[slot], start,
            lambda token, position, skip: self.read(slot, token, position, skip))
        return reads, error

    def soft_reset(self) -> None:
        """Forget every sequence."""
        self.slots = [Sequence() for _ in self.slots]
