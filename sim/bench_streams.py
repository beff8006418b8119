# SPDX-License-Identifier: Apache-2.0
"""What benches of whole units share: streams by name, memories that answer, an end to waiting."""

import time

from sim.streams import Clocked, Memory, StreamDriver, StreamMonitor

__all__ = ["move"]

PATIENCE = 5_000
"""Cycles without any transfer after which a unit counts as hung."""
PROGRESS_SECONDS = 2.0


async def move(dut, feeds, sinks, memories, finished, *, latency, prefix="",
               stalls=lambda name: None, patience=PATIENCE):
    """Move all streams of a device whose clock runs, from reset on until a condition holds.

    Parameters
    ----------
    feeds
        Payloads as integers by input stream.
    sinks
        Names of output streams.
    memories
        By input stream that a memory feeds: the stream of its requests, and the bursts.
    finished
        Called with the streams by name; says in a few words how far they are, or nothing at the
        end.
    latency
        Cycles from a request to the first beat of its burst.
    prefix
        What the device's ports are called in front of the streams' names.
    stalls
        `sim.streams.Stalls` of a stream, by name.

    Returns
    -------
    dict
        Streams by name, with the cycles of their transfers and the payloads that came.
    """
    streams = {name: StreamDriver(dut, prefix + name, stalls(name), payloads)
               for name, payloads in {**feeds, **dict.fromkeys(memories, ())}.items()}
    streams |= {name: StreamMonitor(dut, prefix + name, stalls(name)) for name in sinks}
    fetches = [Memory(streams[requests], streams[name], latency, bursts)
               for name, (requests, bursts) in memories.items()]
    clocked = Clocked(dut, *streams.values())
    await clocked.reset()
    told = time.monotonic()
    quiet = 0
    while where := finished(streams):
        assert quiet < patience, f"nothing moved for {patience} cycles: {where}"
        for fetch in fetches:
            fetch.offer(clocked.cycle)
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
        if clocked.cycle % 256 == 0 and time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"progress: {where}, cycle {clocked.cycle}", flush=True)
    return streams
