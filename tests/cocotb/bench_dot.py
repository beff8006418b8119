# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of `TernaryDot`: values and every handshake under stalls, reset in mid-stream."""

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.config import TernaryDotConfig
from golden_model.mac.ternary_dot import ternary_dot
from hw.mac import layouts
from sim.packing import pack, to_lanes
from sim.scoreboard import Scoreboard
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor

config = TernaryDotConfig(**json.loads(os.environ["CONFIG"]))
seed = int(os.environ["SEED"])


def vectors(count):
    """Random operands behind the corner that fixes the sum's width."""
    rng = np.random.default_rng(seed)
    digits = config.digit_range
    w = rng.integers(-2, 2, (count, config.lanes))
    x = rng.integers(digits.start, digits.stop, (count, config.lanes))
    w[0], x[0] = -1, digits.start
    return w, x


async def stream(dut, count, stall, resets=()):
    """Stream vectors; a reset drops what is in flight, and nothing that was not offered yet."""
    w, x = vectors(count)
    layout = layouts.dot_operands(config)
    operands = [pack(layout, {"w": a, "x": b}) for a, b in zip(w.tolist(), x.tolist())]
    width = len(f"{config.sum_range.stop - 1:b}") + 1
    board = Scoreboard("sums")
    sums = ternary_dot(config, w, x).tolist()
    i = StreamDriver(dut, "i", Stalls(stall, burst=2, seed=seed), operands)
    o = StreamMonitor(dut, "o", Stalls(stall, burst=4, seed=seed + 1))
    clocked = Clocked(dut, i, o)
    await clocked.reset()
    pipeline = [False] * config.latency
    sent = 0
    while sent < count or board.expected:
        if clocked.cycle in resets:
            dut.rst.value = 1
        (i_valid, i_ready), (o_valid, o_ready) = await clocked.step()
        assert o_valid == pipeline[-1], f"o.valid in cycle {clocked.cycle - 1}"
        assert i_ready == (o_ready or not o_valid), f"i.ready in cycle {clocked.cycle - 1}"
        if i_ready:
            pipeline = [i_valid, *pipeline[:-1]]
        if i_valid and i_ready:
            board.expect(sums[sent])
            sent += 1
        if o_valid and o_ready:
            board.check(int(to_lanes(o.payloads[-1:], 1, width)[0, 0]))
        if clocked.cycle - 1 in resets:
            dut.rst.value = 0
            pipeline = [False] * config.latency
            board = Scoreboard("sums after reset")
            o.forget()
    board.close()


@cocotb.test()
async def full_rate(dut):
    """One vector a cycle."""
    Clock(dut.clk, 10, unit="ns").start()
    await stream(dut, 200, 0.0)


@cocotb.test()
async def stalls_on_both_sides(dut):
    """Stalls in bursts."""
    Clock(dut.clk, 10, unit="ns").start()
    await stream(dut, 200, 0.5)


@cocotb.test()
async def resets_in_mid_stream(dut):
    """Reset while the pipeline is full, stalled, empty."""
    Clock(dut.clk, 10, unit="ns").start()
    await stream(dut, 300, 0.3, resets={20, 21, 57, 130, 131, 132, 200})
