# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.hub`: who is served, in which order."""

from collections.abc import Sequence

__all__ = ["grants"]


def grants(offered: Sequence[Sequence[int]], in_flight: int,
           drained: Sequence[int]) -> list[tuple[int, int]]:
    """Reader and cycle of every request, on a port that takes one each cycle.

    Parameters
    ----------
    offered
        For each reader, the cycle from which each of its requests is there, once the one before
        has passed.
    in_flight
        Requests that may be under way.
    drained
        Cycle in which each request's last beat is taken, in the order of the grants.
    """
    left = [list(cycles) for cycles in offered]
    order: list[tuple[int, int]] = []
    cycle = 0
    while any(left):
        under_way = len(order) - sum(done < cycle for done in drained[:len(order)])
        asking = [n for n, cycles in enumerate(left) if cycles and cycles[0] <= cycle]
        if asking and under_way < in_flight:
            left[asking[0]].pop(0)
            order.append((asking[0], cycle))
        cycle += 1
    return order
