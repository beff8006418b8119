# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the gated feed-forward block: vectors back to back, every value checked."""

from hw.ffn.gated_ffn import GatedFfn
from sim.bench_streams import move
from sim.packing import small

__all__ = ["run_ffn"]


async def run_ffn(dut, config, jobs, latency, **options):
    """Run `sim.ffn_jobs.FfnJob` back to back; return streams by name, as `move` does.

    Requests, sums and scales are compared with the golden model.  Of `options`,
    `sim.bench_streams.move` tells.
    """
    ports = GatedFfn(config)

    def bits(name, payloads):
        shape = getattr(ports, name).payload.shape()
        return [shape.const(payload).as_bits() for payload in payloads]

    feeds = {"i_command": bits("i_command", [job.command for job in jobs]),
             "i": bits("i", [beat for job in jobs for beat in job.activations]),
             "i_scale": bits("i_scale", [small(job.vector.scale) for job in jobs]),
             "i_gate_weights": [beat for job in jobs for beat in job.gate_weights],
             "i_gain": bits("i_gain", [beat for job in jobs for beat in job.gains])}
    memories = {f"i_{name}_weights": (f"o_{name}_request", [
        burst for job in jobs for burst in getattr(job, f"{name}_bursts")])
        for name in ("up", "down")}

    def finished(streams):
        done = len(streams["i_command"].cycles)
        return done < len(jobs) and f"{done}/{len(jobs)} FFN blocks"

    streams = await move(dut, feeds, ("o_up_request", "o_down_request", "o", "o_scale"), memories,
                         finished, latency=latency, **options)
    assert streams["o"].payloads == bits("o", [
        {"sums": sums, "last": last} for job in jobs for sums, last in job.sums])
    assert streams["o_scale"].payloads == bits("o_scale", [
        small(job.result.scale) for job in jobs])
    assert streams["o_up_request"].payloads == [row for job in jobs for row in job.result.rows]
    assert streams["o_down_request"].payloads == [row for job in jobs for row in job.columns]
    return streams
