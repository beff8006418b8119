# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the masked product: patterns of zeros and a model's own vectors."""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock

from golden_model.sparse.masked_linear_cycles import MaskedLinearCycles
from golden_model.sparse_config import MaskedLinearConfig
from host.model_file import load_model
from sim.packing import pack
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.hw.quant.tokens import UNIT, small
from tests.hw.sparse.masked import MaskedLinearWithUnit, captured, patterns

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


async def run(dut, rate):
    """Run the jobs back to back against a memory that answers in order; check the values."""
    Clock(dut.clk, 10, unit="ns").start()
    work, ports = jobs(), MaskedLinearWithUnit(config)

    def stalls(number):
        return Stalls(rate, burst=3, seed=seed + number)

    def packed(name, values):
        return [pack(getattr(ports, name).payload.shape(), value) for value in values]

    command = StreamDriver(dut, "i_command", stalls(0),
                           packed("i_command", [job.command(config) for job in work]))
    words = StreamDriver(dut, "i", stalls(1), packed(
        "i", [beat for job in work for beat in job.words(config)]))
    requests = StreamMonitor(dut, "o_request", stalls(2))
    weights = StreamDriver(dut, "i_weights", stalls(3))
    sums = StreamMonitor(dut, "o", stalls(4))
    scales = StreamMonitor(dut, "o_scale", Stalls(rate and 0.9, burst=40, seed=seed + 5))
    columns = [job.columns(config) for job in work]
    bursts = [burst for _, beats in columns for burst in beats]
    results = [job.results(config) for job in work]
    wanted = packed("o", [{"sums": row, "last": last} for beats, _ in results
                          for row, last in beats])
    clocked = Clocked(dut, command, words, requests, weights, sums, scales)
    await clocked.reset()
    answered = quiet = 0
    while ((len(sums.payloads), len(scales.payloads)) != (len(wanted), len(work))
           and quiet < PATIENCE):
        # What is queued now is offered in the next cycle.
        while (answered < len(requests.cycles)
               and requests.cycles[answered] + LATENCY <= clocked.cycle + 1):
            weights.queue.extend(bursts[answered])
            answered += 1
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    assert requests.payloads == [index for kept, _ in columns for index in kept]
    assert sums.payloads == wanted
    assert scales.payloads == packed("o_scale", [scale for _, scale in results])
    return work, [command, words, requests, weights, sums, scales]


@cocotb.test(skip="model" in parameters)
async def values_under_stalls(dut):
    """Stalls on every stream."""
    await run(dut, 0.4)


@cocotb.test()
async def values_and_cycles(dut):
    """Full rate, with the cycle of every transfer."""
    work, streams = await run(dut, 0.0)
    model = MaskedLinearCycles(config, UNIT, LATENCY)
    vectors = [model.run(job.vector, len(job.weights)) for job in work]
    assert [stream.cycles for stream in streams] == [
        [vector.command for vector in vectors],
        *([cycle for vector in vectors for cycle in getattr(vector, name)]
          for name in ("words", "requests", "weights", "sums")),
        [vector.scale for vector in vectors]]
