# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the quantiser: codes, scales and cycles of random tokens and of every corner."""

import json
import os
from fractions import Fraction

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model import smallfloat
from golden_model.quant.norm_quantiser import levels, norm_quantise, schedule
from golden_model.quant_config import NormQuantiserConfig
from sim.coverage import Coverage
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
leave_out = json.loads(os.environ["PARAMETERS"]).get("leave_out", "")
PATIENCE = 2_000
"""Cycles for one token beyond its beats."""


FORMATS = ["int4", "fp4", "int8"]
LARGEST = {"int4": (-8, 7), "fp4": (-12, 12), "int8": (-127, 127)}
MIDDLES = {fmt: [Fraction(2 * code + 1, 2) for code in range(-8 if fmt == "int4" else -127, most)]
           for fmt, (_, most) in LARGEST.items()}
MIDDLES["fp4"] = [sign * Fraction(twice, 2) for twice in (1, 3, 5, 7, 10, 14, 20)
                  for sign in (-1, 1)]
_SCALED = "the largest magnitude is scaled to the largest code"
COVERAGE = Coverage("quantiser", {
    "format": FORMATS,
    "token": ["all zero", "one outlier", "one element", "with a norm", "without a norm"],
    "word": ["least", "most"],
    "code": ["lowest", "highest", "tie", "saturated below", "saturated above"],
}, {"token_by_format": ("format", "token"), "word_by_format": ("format", "word"),
    "code_by_format": ("format", "code")}, {"code_by_format": {
        (fmt, f"saturated {side}"): _SCALED for fmt in ("fp4", "int8")
        for side in ("below", "above")}})


def sample(token, codes):
    """Count the corners of one token."""
    y = token.x if token.norm is None else token.x * token.norm.gain
    statistic = np.abs(y).sum() if token.fmt == "int4" else np.abs(y).max()
    ratio = smallfloat.div(levels(token.fmt, len(y)), smallfloat.from_int(statistic))
    exact = [int(value) * Fraction(float(ratio)) for value in y]
    low, high = LARGEST[token.fmt]
    # Half way to the code that would follow.
    above = Fraction(14) if token.fmt == "fp4" else Fraction(2 * high + 1, 2)
    below = Fraction(14) if token.fmt == "fp4" else Fraction(1 - 2 * low, 2)
    kept = np.count_nonzero(codes)
    COVERAGE.sample(
        format=[token.fmt],
        token=["without a norm" if token.norm is None else "with a norm",
               "one element" if len(y) == 1 else "",
               {0: "all zero", 1: "one outlier" if np.count_nonzero(y) > 3 else ""}.get(kept)],
        word=[{-PEAK: "least", PEAK - 1: "most"}.get(word) for word in token.x.tolist()],
        code=[{low: "lowest", high: "highest"}.get(code) for code in codes.tolist()]
        + ["tie" for value in exact if value in MIDDLES[token.fmt]]
        + ["saturated above" for value in exact if value > above]
        + ["saturated below" for value in exact if -value > below])


def corners(fmt):
    """Yield an outlier of either sign and, but for INT4, a peak of twice the largest code."""
    ramp = np.arange(-4, 5)
    for sign in (-1, 1):
        yield Token(np.where(ramp == 2, sign * (PEAK - 1), ramp), fmt)
    if fmt == "int4":
        # These two add up to the mantissa of 2 * sqrt(7), so that the ratio is a power of two.
        total, _ = smallfloat.split(levels(fmt, 2))
        yield Token(np.array([4096, int(total) - 4096]), fmt)
    else:
        yield Token(np.array([2 * LARGEST[fmt][1], 1, -1, 3, -3, 5, -5]), fmt)
    yield Token(np.array([PEAK - 1]), fmt)


def tokens():
    """Each format with and without a norm, of random sizes; then the ends of the word's range."""
    rng = np.random.default_rng(seed)
    yield from (gaussian(int(rng.integers(1, 70)), fmt, seed=seed + n, norm=norm,
                         size=1 << int(rng.integers(1, 24)))
                for n, (fmt, norm) in enumerate((fmt, norm) for fmt in FORMATS
                                                for norm in (True, False)))
    for fmt in FORMATS:
        yield from near_ties(fmt)
        yield Token(np.zeros(5, np.int64), fmt)
        yield Token(np.array([PEAK - 1, -PEAK, 1, 0, -1, PEAK >> 1]), fmt)
        if fmt != leave_out:
            yield from corners(fmt)


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
        sample(token, expected)
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


@cocotb.test()
async def every_corner_was_met(dut):
    """Look at what the tokens of both runs had in them."""
    COVERAGE.check()
