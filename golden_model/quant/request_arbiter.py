# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.quant.request_arbiter`: who is served when."""

from typing import NamedTuple

from golden_model.quant_config import SmallFloatUnitConfig

__all__ = ["Client", "Grant", "arbitrate"]


class Client(NamedTuple):
    """Operations that one client asks for, one after the other."""

    operations: list[str]
    start: int = 0
    """Cycle in which the first one is offered."""
    pause: int = 1
    """Cycles from a response to the next offer; 1 stands for any earlier one too."""


class Grant(NamedTuple):
    """One operation."""

    client: int
    request: int
    """Cycle in which the unit takes it."""
    response: int
    """Cycle in which the client has the result."""


def arbitrate(unit: SmallFloatUnitConfig, clients: list[Client]) -> list[Grant]:
    """Operations in the order in which they are served; responses are taken at once.

    Round robin from client 0 on: the first one after the client served last that has an offer, or
    if none has, the first to make one.
    """
    done = [0] * len(clients)
    offers = [client.start for client in clients]
    grants: list[Grant] = []
    now, served = 0, len(clients) - 1
    while waiting := [n for n, client in enumerate(clients) if done[n] < len(client.operations)]:
        now = max(now, min(offers[n] for n in waiting))
        served = min((n for n in waiting if offers[n] <= now),
                     key=lambda n: (n - served - 1) % len(clients))
        response = now + unit.latency[clients[served].operations[done[served]]]
        grants.append(Grant(served, now, response))
        done[served] += 1
        offers[served] = response + clients[served].pause
        now = response + 1
    return grants
