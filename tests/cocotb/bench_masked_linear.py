# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the masked product: patterns of zeros and a model's own vectors."""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock

from golden_model.sparse_config import MaskedLinearConfig
from host.model_file import load_model
from sim.bench_masked import run_masked
from sim.masked_jobs import masked_cycles
from sim.packing import small
from sim.streams import Stalls
from tests.hw.sparse.masked import captured, patterns

config = MaskedLinearConfig(**json.loads(os.environ["CONFIG"]))
parameters = json.loads(os.environ["PARAMETERS"])
seed = int(os.environ["SEED"])

LATENCY = 9
PATIENCE = 3_000
"""Cycles without any transfer after which the unit counts as hung."""


def jobs():
    """Return what to run: a model's last layer where a model is named, or patterns."""
    if "model" not in parameters:
        return list(patterns(config, seed))[::parameters["every"]]
    weights = load_model(Path(parameters["model"]))
    work = []
    for job, sums, scale in list(captured(weights, None, parameters["tokens"]))[-2:]:
        beats, own = job.results(config)
        assert [value for row, _ in beats for value in row][:len(sums)] == sums.tolist()
        assert own == small(scale)
        work.append(job)
    return work


@cocotb.test(skip="model" in parameters)
async def values_under_stalls(dut):
    """Stalls on every stream."""
    Clock(dut.clk, 10, unit="ns").start()
    names = iter(range(seed, seed + 100))

    def stalls(name):
        rate, burst = (0.9, 40) if name == "o_scale" else (0.4, 3)
        return Stalls(rate, burst=burst, seed=next(names))

    await run_masked(dut, config, jobs(), LATENCY, stalls=stalls, patience=PATIENCE)


@cocotb.test()
async def values_and_cycles(dut):
    """Full rate, with the cycle of every transfer."""
    Clock(dut.clk, 10, unit="ns").start()
    work = jobs()
    streams = await run_masked(dut, config, work, LATENCY, patience=PATIENCE)
    predicted = masked_cycles(config, work, LATENCY)
    assert {name: streams[name].cycles for name in predicted[0]} == {
        name: [cycle for part in predicted for cycle in part[name]] for name in predicted[0]}
