# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the gated feed-forward block: made-up vectors, or a decoder's on real text."""

import json
import os

import cocotb
from cocotb.clock import Clock

from golden_model.config import ArrayConfig
from golden_model.ffn.captured import captured_blocks
from golden_model.ffn_config import GatedFfnConfig
from host.demo import HELD_OUT, MODEL, load_tokens, read_model
from sim.bench_ffn import run_ffn
from sim.ffn_jobs import FfnJob, ffn_cycles
from sim.streams import Stalls
from tests.hw.ffn.jobs import vectors

fields = json.loads(os.environ["CONFIG"])
config = GatedFfnConfig(**fields | {"array": ArrayConfig(**fields["array"])})
parameters = json.loads(os.environ["PARAMETERS"])
seed = int(os.environ["SEED"])

LATENCY = 9
PATIENCE = 1_000
"""Cycles without any transfer after which the unit counts as hung."""


def jobs(count):
    """First of the made-up vectors, or layers of the last of some tokens.

    Of the latter, the decoder's own results are checked on the way.
    """
    if "tokens" not in parameters:
        return [FfnJob(config, vector) for vector in vectors(config)][:count]
    weights = read_model(MODEL)
    blocks = captured_blocks(weights, load_tokens(HELD_OUT, parameters["tokens"]), 1)[:count]
    made = [FfnJob(config, block.ffn) for block in blocks]
    for block, job in zip(blocks, made):
        outputs = block.down.sums.size
        assert job.result.sums.ravel()[:outputs].tolist() == block.down.sums.tolist()
        assert job.result.scale == block.down.out_scale
    return made


@cocotb.test()
async def values_under_stalls(dut):
    """Stalls on every stream."""
    Clock(dut.clk, 10, unit="ns").start()
    names = iter(range(seed, seed + 100))
    await run_ffn(dut, config, jobs(parameters["stalled"]), LATENCY, patience=PATIENCE,
                  stalls=lambda name: Stalls(0.4, burst=3, seed=next(names)))


@cocotb.test()
async def values_and_cycles(dut):
    """Full rate, with the cycle of every transfer."""
    Clock(dut.clk, 10, unit="ns").start()
    work = jobs(parameters["layers"])
    streams = await run_ffn(dut, config, work, LATENCY, patience=PATIENCE)
    predicted = ffn_cycles(config, work, LATENCY)
    assert {name: streams[name].cycles for name in predicted[0]} == {
        name: [cycle for part in predicted for cycle in part[name]] for name in predicted[0]}
