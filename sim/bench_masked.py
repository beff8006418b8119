# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the masked product: vectors back to back, every value checked."""

from sim.bench_streams import move
from sim.masked_jobs import MaskedLinearWithUnit
from sim.packing import pack

__all__ = ["run_masked"]


async def run_masked(dut, config, jobs, latency, **options):
    """Run `sim.masked_jobs.MaskedJob` back to back; return streams by name, as `move` does.

    Requests, sums and scales are compared with the golden model.  Of `options`,
    `sim.bench_streams.move` tells.
    """
    ports = MaskedLinearWithUnit(config)

    def packed(name, values):
        return [pack(getattr(ports, name).payload.shape(), value) for value in values]

    feeds = {"i_command": packed("i_command", [job.command(config) for job in jobs]),
             "i": packed("i", [beat for job in jobs for beat in job.words(config)])}
    columns = [job.columns(config) for job in jobs]
    memories = {"i_weights": ("o_request", [burst for _, beats in columns for burst in beats])}
    results = [job.results(config) for job in jobs]
    wanted = packed("o", [{"sums": row, "last": last} for beats, _ in results
                          for row, last in beats])

    def finished(streams):
        done = len(streams["o"].payloads), len(streams["o_scale"].payloads)
        return done != (len(wanted), len(jobs)) and f"{done[1]}/{len(jobs)} masked products"

    streams = await move(dut, feeds, ("o_request", "o", "o_scale"), memories, finished,
                         latency=latency, **options)
    assert streams["o_request"].payloads == [index for kept, _ in columns for index in kept]
    assert streams["o"].payloads == wanted
    assert streams["o_scale"].payloads == packed("o_scale", [scale for _, scale in results])
    return streams
