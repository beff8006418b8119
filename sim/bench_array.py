# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the ternary array: jobs from a file, results and cycles to another.

Every result is compared with the golden model, every handshake of every cycle with the cycle model.
`sim.array_jobs.run_array` is the way to run it.
"""

import json
import os
import time
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.config import ArrayConfig
from golden_model.mac.ternary_array import (
    ArrayCycles,
    command_for,
    pack_weights,
    ternary_array,
    tile_activations,
)
from hw.mac import layouts
from sim.array_jobs import load_jobs
from sim.packing import from_bytes, lanes, pack, to_lanes
from sim.scoreboard import Scoreboard
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor

__all__ = ["run_array_jobs"]

PATIENCE = 5_000
"""Cycles without any transfer after which the array counts as hung."""
PROGRESS_SECONDS = 2.0


class Stimulus:
    """Payloads of all jobs as integers, and what must come out."""

    def __init__(self, config, jobs):
        self.commands = [command_for(config, *job.trits.shape, job.digits, job.reuse,
                                     np.atleast_2d(job.codes).shape[0]) for job in jobs]
        beats = {}
        self.weights, self.words, self.results = [], [], []
        for job in jobs:
            if id(job.trits) not in beats:
                packed = from_bytes(pack_weights(config, job.trits))
                mask = (1 << config.unpacker.packed_bits) - 1
                beats[id(job.trits)] = [beat & mask for beat in packed]
            self.weights += beats[id(job.trits)]
            if not job.reuse:
                self.words += lanes(tile_activations(config, job.codes, job.digits),
                                    config.digit_bits)
            totals = lanes(ternary_array(config, job.trits, job.codes), config.acc_bits)
            final = 1 << config.rows * config.acc_bits
            self.results += [*totals[:-1], totals[-1] | final]


def report(config, jobs, commands, payloads, taken, predicted, fires):
    """Results of each job, for the file."""
    sums = to_lanes(payloads, config.rows, config.acc_bits)
    block = beat = 0
    for job, command in zip(jobs, commands):
        beats = fires[beat:beat + command.blocks * command.words]
        blocks = slice(block, block + command.blocks * command.tokens)
        by_token = sums[blocks].reshape(command.blocks, command.tokens, -1).swapaxes(0, 1)
        vectors = by_token.reshape(command.tokens, -1)[:, :len(job.trits)].tolist()
        yield {"sums": vectors if job.codes.ndim > 1 else vectors[0],
               "first_beat": beats[0], "last_beat": beats[-1], "busy": len(beats),
               "outputs": taken[blocks], "predicted": predicted[blocks]}
        block += command.blocks * command.tokens
        beat += len(beats)


async def run_array_jobs(dut, config, jobs, *, prefix="", stalls=None):
    """Run every job on a device whose clock runs; return what each `JobResult` holds.

    Parameters
    ----------
    prefix
        What the device's ports are called in front of the streams' names.
    stalls
        `sim.streams.Stalls` by stream.
    """
    stimulus = Stimulus(config, jobs)
    stall = stalls or {}
    layout = layouts.command(config)
    commands = [pack(layout, command.fields(config)) for command in stimulus.commands]
    i_cmd = StreamDriver(dut, prefix + "i_cmd", stall.get("i_cmd"), commands)
    i_x = StreamDriver(dut, prefix + "i_x", stall.get("i_x"), stimulus.words)
    i_w = StreamDriver(dut, prefix + "i_w", stall.get("i_w"), stimulus.weights)
    o = StreamMonitor(dut, prefix + "o", stall.get("o"))
    clocked = Clocked(dut, i_cmd, i_x, i_w, o)
    board = Scoreboard("o", stimulus.results)
    model = ArrayCycles(config)
    fires, predicted = [], []

    await clocked.reset()
    start = told = time.monotonic()
    idle = issued = 0
    while board.expected:
        cycle = clocked.cycle
        (cmd, cmd_ready), (x, x_ready), (w, w_ready), (o_valid, o_ready) = await clocked.step()
        answers = model.step(stimulus.commands[issued] if cmd else None, x, w, o_ready)
        issued += cmd and cmd_ready
        assert (cmd_ready, x_ready, w_ready, o_valid) == answers[:4], (
            f"cycle {cycle}: ready of i_cmd, i_x, i_w and o.valid are "
            f"{(cmd_ready, x_ready, w_ready, o_valid)}, predicted {answers[:4]}")
        if answers.fire:
            fires.append(cycle)
        if o_valid and o_ready:
            predicted.append(cycle)
            board.check(o.payloads[-1], f" (cycle {cycle})")
        moved = answers.fire or (o_valid and o_ready) or (x and x_ready) or (cmd and cmd_ready)
        idle = 0 if moved else idle + 1
        assert idle < PATIENCE, f"nothing moved for {PATIENCE} cycles"
        if cycle % 256 == 0 and time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"progress: {board.matched}/{len(stimulus.results)} row blocks, cycle {cycle}, "
                  f"{cycle / (told - start):.0f} cycles/s", flush=True)
    seconds = time.monotonic() - start
    print(f"done: {len(jobs)} jobs, {clocked.cycle} cycles, {clocked.cycle / seconds:.0f} cycles/s",
          flush=True)
    return list(report(config, jobs, stimulus.commands, o.payloads, o.cycles, predicted, fires))


@cocotb.test()
async def jobs_match_the_golden_model_in_value_and_cycle(dut):
    """Run the jobs of a file; write the results to another."""
    config = ArrayConfig(**json.loads(os.environ["CONFIG"]))
    parameters, seed = json.loads(os.environ["PARAMETERS"]), int(os.environ["SEED"])
    stalls = {name: Stalls(rate, burst=3, seed=seed + n) for n, (name, rate) in
              enumerate(sorted(parameters.get("stalls", {}).items()))}
    Clock(dut.clk, 10, unit="ns").start()
    results = await run_array_jobs(dut, config, load_jobs(parameters["jobs"]), stalls=stalls)
    Path(parameters["results"]).write_text(json.dumps(results), encoding="utf-8")
