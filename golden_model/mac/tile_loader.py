# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.mac.tile_loader`."""

from typing import NamedTuple

from golden_model.config import ArrayConfig

__all__ = ["Command", "LoaderCycles", "Run"]


class Command(NamedTuple):
    """Payload of ``i_cmd``: counts from 1."""

    blocks: int
    tiles: int
    digits: int = 1
    reuse: bool = False
    tokens: int = 1
    """Activation vectors; the port has it if ``config.batch`` is above 1."""

    @property
    def words(self) -> int:
        """Words of activations that it computes on: its cycles for each block of rows."""
        return self.tiles * self.digits * self.tokens

    def fields(self, config: ArrayConfig) -> dict[str, int]:
        """Payload of ``i_cmd`` by field."""
        names = [name for name in self._fields if name != "tokens" or config.batch > 1]
        return {name: int(getattr(self, name)) for name in names}

    def clamped(self, config: ArrayConfig) -> "Command":
        """Return what the hardware makes of it: counts raised to 1, lowered to the maximum."""
        return Command(min(max(self.blocks, 1), config.max_blocks),
                       min(max(self.tiles, 1), config.max_tiles),
                       min(max(self.digits, 1), config.max_digits), self.reuse,
                       min(max(self.tokens, 1), config.batch))


class Run(NamedTuple):
    """A command whose activations are in place, and their bank."""

    command: Command
    bank: int


class LoaderCycles:
    """Handshakes of the loader, cycle by cycle."""

    def __init__(self, config: ArrayConfig) -> None:
        self.config = config
        self.held: Command | None = None
        self.loaded = 0
        self.bank = 0
        self.runs: list[Run] = []

    @property
    def run(self) -> Run | None:
        """Run on ``o_run`` in this cycle."""
        return self.runs[0] if self.runs else None

    @property
    def words(self) -> int:
        """Words that the held command loads."""
        return self.held.words if self.held and not self.held.reuse else 0

    @property
    def x_ready(self) -> bool:
        """``i_x.ready`` in this cycle."""
        if not self.words or any(run.bank != self.bank for run in self.runs):
            return False
        return len(self.runs) < 2 or self.loaded + 1 < self.words

    def done(self, x_valid: bool) -> bool:
        """Whether the held command turns into a run at the end of this cycle."""
        if self.held is None:
            return False
        if self.held.reuse:
            return len(self.runs) < 2
        return x_valid and self.x_ready and self.loaded + 1 == self.words

    def cmd_ready(self, x_valid: bool) -> bool:
        """``i_cmd.ready`` in this cycle."""
        return self.held is None or self.done(x_valid)

    def tick(self, cmd: Command | None, x_valid: bool, run_taken: bool) -> None:
        """Go on to the next cycle, with `cmd` on ``i_cmd`` if not None."""
        done, cmd_ready = self.done(x_valid), self.cmd_ready(x_valid)
        self.loaded += x_valid and self.x_ready
        if run_taken:
            del self.runs[0]
        if done and self.held is not None:
            self.bank ^= not self.held.reuse
            self.runs.append(Run(self.held, self.bank))
            self.loaded = 0
        if cmd_ready:
            self.held = cmd.clamped(self.config) if cmd else None
