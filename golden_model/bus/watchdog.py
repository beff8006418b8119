# SPDX-License-Identifier: Apache-2.0
"""When the watchdog acts."""

from typing import NamedTuple

from golden_model.bus_config import WatchdogConfig

__all__ = ["Pulses", "Watchdog"]


class Pulses(NamedTuple):
    """What the watchdog asks for."""

    expired: bool = False
    abandon: bool = False


class Watchdog:
    """State of the watchdog between two clock edges; `pulses` is what its outputs show."""

    def __init__(self, config: WatchdogConfig) -> None:
        self.left = (1 << config.limit_bits) - 1
        self.pulses = Pulses()

    def step(self, limit: int, *, busy: bool, progress: bool, draining: bool) -> None:
        """Go through one cycle."""
        self.pulses = Pulses()
        if not busy or progress or not limit:
            self.left = limit
            return
        self.left -= 1
        if self.left <= 0:
            self.left = limit
            self.pulses = Pulses(not draining, draining)
