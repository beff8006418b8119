# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the quantiser: codes, scales and cycles of random and extreme tokens."""

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.quant.norm_quantiser import norm_quantise, schedule
from golden_model.vector_config import NormQuantiserConfig
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.hw.quant.tokens import (
    PEAK,
    UNIT,
    QuantiserWithUnit,
    Token,
    beats,
    command,
    gaussian,
    near_ties,
    small,
)

config = NormQuantiserConfig(**json.loads(os.environ["CONFIG"]))
seed = int(os.environ["SEED"])
PATIENCE = 2_000
"""Cycles for one token beyond its beats."""


def tokens():
    """Each format with and without a norm, of random sizes; then the ends of the word's range."""
    rng = np.random.default_rng(seed)
    yield from (gaussian(int(rng.integers(1, 70)), fmt, seed=seed + n, norm=norm,
                         size=1 << int(rng.integers(1, 24)))
                for n, (fmt, norm) in enumerate((fmt, norm) for fmt in ("int4", "fp4", "int8")
                                                for norm in (True, False)))
    for fmt in ("int4", "fp4", "int8"):
        yield from near_ties(fmt)
        yield Token(np.zeros(5, np.int64), fmt)
        yield Token(np.array([PEAK - 1, -PEAK, 1, 0, -1, PEAK >> 1]), fmt)


async def run(dut, stalls):
    """Send every token; return payloads and cycles of all streams."""
    ports, todo = QuantiserWithUnit(config), list(tokens())

    def packed(port, values):
        shape = port.payload.shape()
        return [shape.const(value).as_bits() for value in values]

    vectors = [beat for token in todo for _ in range(2) for beat in beats(config, token)]
    streams = [
        StreamDriver(dut, "i_command", Stalls(stalls, seed=seed),
                     packed(ports.i_command, map(command, todo))),
        StreamDriver(dut, "i", Stalls(stalls, seed=seed + 1), packed(ports.i, vectors)),
        StreamMonitor(dut, "o", Stalls(stalls, seed=seed + 2)),
        StreamMonitor(dut, "o_scale", Stalls(stalls, seed=seed + 3)),
    ]
    Clock(dut.clk, 10, unit="ns").start()
    clocked = Clocked(dut, *streams)
    await clocked.reset()
    limit = len(todo) * PATIENCE + 8 * len(vectors)
    while len(streams[3].payloads) < len(todo) or len(streams[2].payloads) < len(vectors) // 2:
        assert clocked.cycle < limit, "the quantiser hangs"
        await clocked.step()
    return ports, todo, streams


async def check(dut, stalls):
    ports, todo, (commands, _, codes, scales) = await run(dut, stalls)
    beat = 0
    for n, token in enumerate(todo):
        count = len(token.x)
        expected, unit = norm_quantise(token.x, np.float64(token.scale), token.norm, token.fmt)
        size = -(-count // config.lanes)
        got = [ports.o.payload.shape().from_bits(bits) for bits in codes.payloads[beat:beat + size]]
        beat += size
        assert [code for part in got for code in part.codes][:count] == expected.tolist()
        assert [part.last for part in got] == [0] * (size - 1) + [1]
        scale = ports.o_scale.payload.shape().from_bits(scales.payloads[n])
        assert {"m": scale.m, "e": scale.e} == small(unit)
        if not stalls:
            took = (codes.cycles[beat - 1] - commands.cycles[n],
                    scales.cycles[n] - commands.cycles[n])
            assert took == schedule(config, UNIT, count, token.norm is not None)[:2]


@cocotb.test()
async def tokens_match_in_value_and_cycle(dut):
    """Full rate: every code, scale and cycle."""
    await check(dut, 0.0)


@cocotb.test()
async def tokens_match_under_stalls(dut):
    """Stalls on every stream."""
    await check(dut, 0.5)
