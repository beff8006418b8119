# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the head joiner: heads of every scale, in value and cycle."""

import json
import os

import cocotb
from cocotb.clock import Clock

from golden_model.attention.head_joiner import JoinCycles, join_cycles
from golden_model.head_joiner_config import HeadJoinerConfig
from hw.attention.head_joiner import HeadJoiner
from sim.packing import pack
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.hw.attention.test_head_joiner import ties, vectors
from tests.hw.quant.tokens import small

config = HeadJoinerConfig(**json.loads(os.environ["CONFIG"]))
seed = int(os.environ["SEED"])

PATIENCE = 1_000
"""Cycles without any transfer after which the unit counts as hung."""


async def run(dut, rate):
    """Join the vectors back to back, check their values, return their cycles."""
    Clock(dut.clk, 10, unit="ns").start()
    work, ports = [*vectors(config, seed), ties(), *vectors(config, seed + 1)], HeadJoiner(config)

    def packed(name, values):
        return [pack(getattr(ports, name).payload.shape(), value) for value in values]

    beats = [vector.beats(config) for vector in work]
    joined = [vector.joined(config) for vector in work]
    streams = [
        *(StreamDriver(dut, name, Stalls(rate, burst=3, seed=seed + n), packed(name, values))
          for n, (name, values) in enumerate([
              ("i_command", [vector.command(config) for vector in work]),
              ("i", [beat for rows in beats for beat in rows]),
              ("i_scale", [small(scale) for vector in work for scale in vector.scales])])),
        StreamMonitor(dut, "o", Stalls(rate, burst=3, seed=seed + 4)),
        StreamMonitor(dut, "o_scale", Stalls(rate and 0.9, burst=30, seed=seed + 5))]
    *_, words, scales = streams
    clocked = Clocked(dut, *streams)
    await clocked.reset()
    wanted, quiet = (sum(len(rows) for rows, _ in joined), len(work)), 0
    while (len(words.payloads), len(scales.payloads)) != wanted and quiet < PATIENCE:
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    assert words.payloads == packed("o", [row for rows, _ in joined for row in rows])
    assert scales.payloads == packed("o_scale", [scale for _, scale in joined])
    logs = [iter(stream.cycles) for stream in streams]
    return work, [JoinCycles(next(logs[0]), [next(logs[1]) for _ in rows],
                             [next(logs[2]) for _ in vector.scales], [next(logs[3]) for _ in out],
                             next(logs[4]))
                  for vector, rows, (out, _) in zip(work, beats, joined, strict=True)]


@cocotb.test()
async def values_under_stalls(dut):
    """Stalls on every stream."""
    await run(dut, 0.4)


@cocotb.test()
async def values_and_cycles(dut):
    """Full rate, with the cycle of every transfer."""
    work, took = await run(dut, 0.0)
    assert took == join_cycles(config, [
        (len(vector.scales), vector.sums.shape[1] // config.lanes, vector.passes)
        for vector in work])
