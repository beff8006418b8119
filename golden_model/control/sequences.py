# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.sequences`."""

from dataclasses import dataclass

__all__ = ["Sequence"]


@dataclass(frozen=True)
class Sequence:
    """What is known of one slot; every change gives a new one."""

    open: bool = False
    position: int = 0
    words: int = 0
    following: int | None = None

    def cleared(self) -> "Sequence":
        """Open and empty."""
        return Sequence(open=True)

    def advanced(self, following: int | None, window: int, state_words: int) -> "Sequence":
        """One token longer."""
        grown = state_words if self.position < window else 0
        return Sequence(True, self.position + 1, self.words + grown, following)

    def restored(self, position: int, words: int) -> "Sequence":
        """As it was saved."""
        return Sequence(True, position, words)
