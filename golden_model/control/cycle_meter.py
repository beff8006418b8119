# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.control.cycle_meter`."""

from typing import NamedTuple

__all__ = ["Cycle", "kinds"]


class Cycle(NamedTuple):
    """What is seen in one cycle."""

    busy: bool
    weights: bool
    attending: bool
    asked: int
    """Beats of the request that is transferred; 0: none is."""
    offered: bool
    taken: bool


def kinds(cycles: list[Cycle]) -> list[str | None]:
    """Kind of each cycle, None if nothing is in work."""
    owed, found = 0, []
    for cycle in cycles:
        kind = ("weight_beats" if cycle.weights else
                "stall_weights" if owed and not cycle.offered else
                "stall_kv" if cycle.attending else "stall_vector")
        found.append(kind if cycle.busy else None)
        owed += cycle.asked - cycle.taken
    return found
