# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.attention.scale_join`: what the values' port is read for, in order."""

__all__ = ["port_order"]


def port_order(passes: int, banks: int) -> list[bool]:
    """Tell for each read of values whether it is for scales, given the passes of one command.

    Scales go first, up to `banks` passes ahead of those passes' values.
    """
    ahead = min(passes, banks)
    order = [True] * ahead
    for number in range(passes):
        order.append(False)
        if number + ahead < passes:
            order.append(True)
    return order
