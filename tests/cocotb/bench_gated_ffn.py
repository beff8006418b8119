# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the gated feed-forward block on what the demo model computes on held-out text."""

import json
import os

import cocotb
from cocotb.clock import Clock

from golden_model.config import ArrayConfig
from golden_model.ffn.captured import captured_blocks
from golden_model.ffn.ffn_cycles import FfnCycles
from golden_model.ffn_config import GatedFfnConfig
from golden_model.quant_config import SmallFloatUnitConfig
from host.demo import HELD_OUT, MODEL, load_tokens, read_model
from hw.ffn.gated_ffn import GatedFfn
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.hw.ffn.jobs import FfnJob
from tests.hw.ffn.lockstep import small

fields = json.loads(os.environ["CONFIG"])
config = GatedFfnConfig(**fields | {"array": ArrayConfig(**fields["array"])})
parameters = json.loads(os.environ["PARAMETERS"])
seed = int(os.environ["SEED"])

LATENCY = 9
PATIENCE = 1_000
"""Cycles without any transfer after which the unit counts as hung."""


def jobs(count):
    """Layers of the last token of a few, the decoder's own results checked on the way."""
    weights = read_model(MODEL)
    blocks = captured_blocks(weights, load_tokens(HELD_OUT, parameters["tokens"]), 1)[:count]
    made = [FfnJob(config, block.ffn) for block in blocks]
    for block, job in zip(blocks, made):
        outputs = block.down.sums.size
        assert job.result.sums.ravel()[:outputs].tolist() == block.down.sums.tolist()
        assert job.result.scale == block.down.out_scale
    return made


class Fetch:
    """Memory that answers requests in order with bursts, the same cycles later."""

    def __init__(self, monitor, driver, bursts):
        self.monitor, self.driver, self.bursts = monitor, driver, bursts
        self.answered = 0

    def advance(self, cycle):
        """Queue what is offered in `cycle`."""
        while (self.answered < len(self.monitor.cycles)
               and self.monitor.cycles[self.answered] + LATENCY <= cycle):
            self.driver.queue.extend(self.bursts[self.answered])
            self.answered += 1


async def run(dut, count, rate):
    """Run the jobs back to back; check sums and scales; return the streams by name."""
    Clock(dut.clk, 10, unit="ns").start()
    work = jobs(count)
    ports = GatedFfn(config)
    seeds = iter(range(seed, seed + 100))

    def stalls():
        return Stalls(rate, burst=3, seed=next(seeds))

    def bits(name, payloads):
        shape = getattr(ports, name).payload.shape()
        return [shape.const(payload).as_bits() for payload in payloads]

    feeds = {"i_command": bits("i_command", [job.command for job in work]),
             "i": bits("i", [beat for job in work for beat in job.activations]),
             "i_scale": bits("i_scale", [small(job.vector.scale) for job in work]),
             "i_gate_weights": [beat for job in work for beat in job.gate_weights],
             "i_gain": bits("i_gain", [beat for job in work for beat in job.gains]),
             "i_up_weights": [], "i_down_weights": []}
    streams = {name: StreamDriver(dut, name, stalls(), payloads)
               for name, payloads in feeds.items()}
    streams |= {name: StreamMonitor(dut, name, stalls())
                for name in ("o_up_request", "o_down_request", "o", "o_scale")}
    memories = [Fetch(streams[f"o_{name}_request"], streams[f"i_{name}_weights"],
                      [burst for job in work for burst in getattr(job, f"{name}_bursts")])
                for name in ("up", "down")]
    clocked = Clocked(dut, *streams.values())
    await clocked.reset()
    quiet = 0
    while len(streams["i_command"].cycles) != len(work) and quiet < PATIENCE:
        for memory in memories:
            memory.advance(clocked.cycle + 1)
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    assert streams["o"].payloads == bits("o", [{"sums": sums, "last": last}
                                               for job in work for sums, last in job.sums])
    assert streams["o_scale"].payloads == bits("o_scale", [small(job.result.scale)
                                                           for job in work])
    assert streams["o_up_request"].payloads == [row for job in work for row in job.result.rows]
    assert streams["o_down_request"].payloads == [row for job in work for row in job.columns]
    return work, {name: stream.cycles for name, stream in streams.items()}


@cocotb.test()
async def values_under_stalls(dut):
    """Stalls on every stream."""
    await run(dut, parameters["stalled"], 0.4)


@cocotb.test()
async def values_and_cycles(dut):
    """Full rate, with the cycle of every transfer."""
    work, cycles = await run(dut, parameters["layers"], 0.0)
    model = FfnCycles(config, SmallFloatUnitConfig(), LATENCY)
    parts = [model.run(job.vector, job.result, more=job is not work[-1]) for job in work]
    for name, field in (("i", "activations"), ("i_gate_weights", "gate_weights"),
                        ("o_up_request", "up_requests"), ("i_up_weights", "up_weights"),
                        ("i_gain", "words"), ("o_down_request", "down_requests"),
                        ("i_down_weights", "down_weights"), ("o", "sums")):
        assert cycles[name] == [cycle for part in parts for cycle in getattr(part, field)], name
    assert cycles["o_scale"] == [part.scale for part in parts]
    assert cycles["i_command"] == [part.command for part in parts]
