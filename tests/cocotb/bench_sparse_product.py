# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the sparse product: every pattern over real layer widths, in value and cycle."""

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.formats import pack_2bit, pack_base3
from golden_model.sparse.sparse_product import (
    blocks,
    column_beats,
    sparse_cycles,
    sparse_product,
)
from golden_model.sparse_config import SparseProductConfig
from hw.sparse.compactor import channel_layout
from hw.sparse.sparse_product import SparseProduct
from sim.coverage import Coverage
from sim.streams import Clocked, Memory, Stalls, StreamDriver, StreamMonitor

config = SparseProductConfig(**json.loads(os.environ["CONFIG"]))
seed = int(os.environ["SEED"])

LATENCY = 9
PATIENCE = 1_000
"""Cycles without any transfer after which the unit counts as hung."""


def packed(trits):
    pack = {"2bit": pack_2bit, "base3": pack_base3}[config.packing]
    return int.from_bytes(pack(trits).tobytes(), "little")


class Job:
    """One vector and its matrix: what goes in and, as integers, what must come out."""

    def __init__(self, codes, weights):
        layout = channel_layout(config.max_n)
        result = SparseProduct(config).o.payload.shape()
        kept = np.flatnonzero(codes).tolist()
        self.codes = codes
        self.height = weights.shape[0]
        self.count = blocks(config, weights.shape[0])
        self.command = self.count
        self.channels = [layout.const({"index": i, "code": c, "end": 0}).as_bits()
                         for i, c in enumerate(codes.tolist())]
        self.channels.append(layout.const({"index": 0, "code": 9, "end": 1}).as_bits())
        self.requests = kept
        self.bursts = [[packed(beat) for beat in column_beats(config, weights[:, index])]
                       for index in kept]
        beats = sparse_product(config, codes, weights).tolist()
        self.sums = [result.const({"sums": sums, "last": number == self.count - 1}).as_bits()
                     for number, sums in enumerate(beats)]


def jobs():
    rng = np.random.default_rng(seed)
    n = config.max_n
    index = np.arange(n)
    draw = rng.integers(-128, 128, n)
    draw[draw == 0] = 1
    masks = [rng.random(n) < 0.27, index < n // 4, index % 2 == 0, index < 0, index >= 0,
             index == n - 1]
    heights = [config.max_m, config.width, 2 * config.width, 3 * config.width - 1]
    # Where nothing, one or everything is kept, every height.
    sizes = [(mask, m) for number, mask in enumerate(masks)
             for m in (heights if number > 2 else heights[number % 2::2])]
    work = [Job((draw * mask).astype(np.int8), rng.integers(-1, 2, (m, n), dtype=np.int8))
            for mask, m in sizes]
    edges = np.array([-128, -127, 127], np.int8)
    return [*work, *(Job(np.resize(edges, n), np.full((config.width, n), sign, np.int8))
                     for sign in (-1, 1))]


async def run(dut, rate):
    """Run the jobs back to back against a memory that answers in order; check the values."""
    Clock(dut.clk, 10, unit="ns").start()
    work = jobs()

    def stalls(number):
        return Stalls(rate, burst=3, seed=seed + number)

    command = StreamDriver(dut, "i_command", payloads=[job.command for job in work])
    channels = StreamDriver(dut, "i", stalls(1), [beat for job in work for beat in job.channels])
    requests = StreamMonitor(dut, "o_request", stalls(2))
    weights = StreamDriver(dut, "i_weights", stalls(3))
    sums = StreamMonitor(dut, "o", stalls(4))
    memory = Memory(requests, weights, LATENCY, [burst for job in work for burst in job.bursts])
    clocked = Clocked(dut, command, channels, requests, weights, sums)
    await clocked.reset()
    wanted = [beat for job in work for beat in job.sums]
    quiet = 0
    while len(sums.payloads) != len(wanted) and quiet < PATIENCE:
        memory.offer(clocked.cycle)
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    for job in work:
        sample(job)
    assert requests.payloads == [index for job in work for index in job.requests]
    assert sums.payloads == wanted
    return work, channels, requests, weights, sums


COVERAGE = Coverage("sparse_product", {
    "channels": ["none", "one", "some", "all"],
    "blocks": ["one", "two", "more"],
    "fill": ["whole", "part"],
    "code": [-128, -127, 127],
}, {"size": ("channels", "blocks")})


def sample(job):
    """Count the corners of one vector."""
    kept = len(job.requests)
    COVERAGE.sample(
        channels=[{0: "none", 1: "one", job.codes.size: "all"}.get(kept, "some")],
        blocks=[{1: "one", 2: "two"}.get(job.count, "more")],
        fill=["part" if job.height % config.width else "whole"], code=job.codes.tolist())


@cocotb.test()
async def values_under_stalls(dut):
    """Stalls on every stream."""
    await run(dut, 0.4)


@cocotb.test()
async def values_and_cycles(dut):
    """Full rate, with the cycle of every transfer."""
    work, *streams = await run(dut, 0.0)
    predicted = sparse_cycles(config, [(list(map(bool, job.codes)), job.count) for job in work],
                              LATENCY)
    assert [stream.cycles for stream in streams] == [*predicted]


@cocotb.test()
async def every_corner_was_met(dut):
    """Look at what the jobs of both runs had in them."""
    COVERAGE.check()
