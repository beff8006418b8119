# SPDX-License-Identifier: Apache-2.0
"""Time of short kernels: graphs of many launches, cold caches or warm ones."""

import statistics
from collections.abc import Callable

import numpy as np

from host.gpu.runtime import KERNELS, Device

__all__ = ["COLD_BYTES", "LAUNCHES", "REPLAYS", "clock_mhz", "spread", "time_launches"]

LAUNCHES = 100
"""Launches of one graph."""
REPLAYS = 30
COLD_BYTES = 220_000_000
"""Least size of all copies of what a kernel reads; several times the second cache."""


def time_launches(device: Device, launch: Callable[[int], None], copies: int = 1) -> list[float]:
    """Microseconds a launch, one figure for each replay.

    Launch number i uses copy ``i % copies``.  Where there are more copies than launches in a graph,
    further graphs take turns with it, so that every copy was left alone for as long as possible.

    Parameters
    ----------
    launch
        Launches the kernel on a copy.
    """
    graphs = []
    for part in range(max(1, -(-copies // LAUNCHES))):
        with device.capture() as capture:
            for i in range(LAUNCHES):
                launch((part * LAUNCHES + i) % copies)
        graphs.append(capture.graph)
    for graph in graphs * 2:
        graph.replay()
    device.synchronize()
    out = []
    for i in range(REPLAYS):
        start, end = device.event(), device.event()
        start.record()
        graphs[i % len(graphs)].replay()
        end.record()
        out.append(end.since(start) / LAUNCHES)
    return out


def spread(times: list[float]) -> tuple[float, float, float]:
    """Median, least and greatest."""
    return statistics.median(times), min(times), max(times)


def clock_mhz(device: Device) -> float:
    """Clock of the multiprocessors under load: cycles over nanoseconds, both counted there."""
    kernel = device.kernel(KERNELS / "probe.cu", "clocks")
    out = device.zeros(2, np.int64)
    kernel(device.info.multiprocessors, 256, out, np.int64(20_000_000))
    cycles, nanoseconds = out.get().tolist()
    return 1e3 * float(cycles) / float(nanoseconds)
