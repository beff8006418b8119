# SPDX-License-Identifier: Apache-2.0
"""Handshakes of :mod:`hw.kv.cache`, cycle by cycle: reads of one side, appended rows."""

from golden_model.control.slack import SlackSteps
from golden_model.kv_config import KvCacheConfig

__all__ = ["AppendCycles", "ReadCycles"]


class ReadCycles:
    """One side's reads: commands become words."""

    def __init__(self, config: KvCacheConfig) -> None:
        self.config = config
        self.waiting = 0
        """Words of the command that is looked up."""
        self.left = 0
        """Words of the one whose addresses are given."""
        self.begun = 0
        """Commands whose addresses are given, or were."""
        self.found = self.kept = False
        self.room = SlackSteps()
        """What stands behind the bank."""

    @property
    def valid(self) -> bool:
        """Whether a word is offered."""
        return self.room.valid(self._given)

    @property
    def _given(self) -> bool:
        """Whether the bank gives a word."""
        return self.kept if self.config.secded else self.found

    def step(self, command: int | None, ready: bool, paused: bool = False,
             waiting: int = 0) -> bool:
        """Go through one cycle; return whether the command, of so many words, is taken.

        Parameters
        ----------
        command
            What is offered, if anything.
        ready
            Whether a word is taken.
        paused
            Whether a memory of one port is being written.
        waiting
            Words at the end of the command in work that are not yet to be read.
        """
        moved = self.room.ready
        self.room.tick(self._given, ready)
        take = (not self.kept or moved) if self.config.secded else moved
        advance = not self.found or take
        moves = self.left > waiting and advance and not paused
        free = self.left - moves == 0
        taken = command is not None and (not self.waiting or free)
        if take:
            self.kept = self.found
        if advance:
            self.found = moves
        self.left -= moves
        if free and self.waiting:
            self.left, self.waiting = self.waiting, 0
            self.begun += 1
        if taken and command is not None:
            self.waiting = command
        return taken


class AppendCycles:
    """Appended rows, whose streams nobody reads meanwhile."""

    def __init__(self) -> None:
        self.looking = self.busy = self.written = False

    @property
    def free(self) -> bool:
        """Whether a command is accepted."""
        return not (self.looking or self.busy)

    @property
    def ready(self) -> bool:
        """Whether a word is accepted."""
        return self.busy

    def step(self, command: bool, word: bool, last: bool) -> None:
        """Go through one cycle, given what is offered; `written` is then of the next one."""
        asked = command and self.free
        self.written = word and self.busy
        if self.written and last:
            self.busy = False
        elif self.looking:
            self.looking, self.busy = False, True
        if asked:
            self.looking = True
