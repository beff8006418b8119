# SPDX-License-Identifier: Apache-2.0
"""Cycles of :mod:`hw.bus.axi_read` in front of a memory of fixed latency."""

from collections.abc import Sequence
from typing import NamedTuple

from golden_model.bus.axi_read import bursts
from golden_model.bus_config import AxiReadConfig

__all__ = ["AxiReadCycles", "axi_read_cycles"]


class AxiReadCycles(NamedTuple):
    """The cycle of every transfer, cycle 0 being the first in which a command is offered."""

    accepted: list[int]
    """Commands on ``i``."""
    requested: list[int]
    """Bursts on AR."""
    received: list[int]
    """Beats on R."""
    taken: list[int]
    """Beats on ``o``."""


def axi_read_cycles(config: AxiReadConfig, commands: Sequence[tuple[int, int]],
                    latency: int) -> AxiReadCycles:
    """Cycles of commands that are offered back to back to an idle master; ``o`` is always ready.

    Parameters
    ----------
    commands
        Byte address and beats of each.
    latency
        Cycles from an address on AR to its burst's first beat on R if the bus is free; the memory
        takes an address in every cycle, and gives a beat in every cycle as long as it has any.
    """
    accepted: list[int] = []
    requested: list[int] = []
    received: list[int] = []
    taken: list[int] = []
    ends: list[int] = []  # cycle of each burst's last beat on R
    issued = 0  # cycle in which the latest burst was issued, which frees the register before it
    moved = 0  # cycle in which the latest burst went into that register
    for address, beats in commands:
        accepted.append(moved)
        for burst in bursts(config, address, beats):
            moved = max(moved + 1, issued)
            issued = max(issued + 1, moved + 1)
            if len(ends) >= config.outstanding:
                issued = max(issued, ends[-config.outstanding] + 1)
            over = len(taken) + burst.length - config.buffer_beats
            if over > 0:
                issued = max(issued, taken[over - 1] + 1)
            requested.append(issued + 1)
            start = max(issued + 1 + latency, received[-1] + 1 if received else 0)
            received.extend(range(start, start + burst.length))
            ends.append(received[-1])
            for cycle in received[-burst.length:]:
                taken.append(max(cycle + config.data_latency, taken[-1] + 1 if taken else 0))
    return AxiReadCycles(accepted, requested, received, taken)
