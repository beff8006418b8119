# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the quantiser's other use: residual additions between tokens."""

import json
import os
from fractions import Fraction

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.quant.norm_quantiser import norm_quantise, residual_schedule, schedule
from golden_model.quant_config import NormQuantiserConfig
from golden_model.vector.residual_add import residual_add
from hw.quant.code_encoder import Format
from sim.coverage import Coverage
from sim.packing import pack
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.hw.quant.test_norm_quantiser import residuals
from tests.hw.quant.tokens import PEAK, UNIT, QuantiserWithUnit, beats, command, gaussian, small

config = NormQuantiserConfig(**json.loads(os.environ["CONFIG"]))
seed = int(os.environ["SEED"])
PATIENCE = 1_000
"""Cycles without any transfer after which the unit counts as hung."""

COVERAGE = Coverage(
    "residual", {"addend": ["low", "within", "high"], "sum": ["low", "within", "high"],
                 "rounding": ["exact", "tie", "other"], "scale": ["zero", "other"],
                 "before": ["token", "sum"]},
    {"both": ("addend", "sum")},
    {"both": {("low", "high"): "the lowest addend leaves no sum above 0",
              ("high", "low"): "the highest addend leaves no sum below -1"}})


def end(value):
    """Corner of an integer ahead of saturation."""
    return "low" if value < -PEAK else "high" if value >= PEAK else "within"


class Token:
    """A vector to quantise."""

    is_sum = False

    def __init__(self, number):
        self.token = gaussian(9, ("int8", "int4")[number % 2], seed=seed + number)
        self.command = {**command(self.token), "shift": 3}
        self.beats = 2 * [{**beat, "addend": [0] * config.lanes}
                          for beat in beats(config, self.token)]
        self.size = len(self.token.x)
        codes, self.scale = norm_quantise(self.token.x, np.float64(self.token.scale),
                                          self.token.norm, self.token.fmt)
        self.wanted = codes.tolist()

    def stated(self, following):
        """Return when its codes and the next command come."""
        when = schedule(config, UNIT, self.size, True)
        return when.codes, when.command - (3 if following.is_sum else 0)


class Sum:
    """Residual words to add to."""

    is_sum = True

    def __init__(self, x, y, scale, shift, before):
        self.command = {**command(gaussian(1, "int8", seed=1)), "n": len(x), "scale": small(scale),
                        "format": Format.RESIDUAL, "shift": shift}
        rows = [np.pad(part, (0, -len(x) % config.lanes)).reshape(-1, config.lanes).tolist()
                for part in (x, y)]
        self.beats = [{"x": b, "addend": a, "gain": [5] * config.lanes} for a, b in zip(*rows)]
        self.size = len(x)
        self.wanted = residual_add(x[:, None], y[:, None], np.full(len(x), scale),
                                   np.full(len(x), shift))[:, 0].tolist()
        for word, value in zip(x.tolist(), y.tolist()):
            exact = value * Fraction(float(scale)) * Fraction(2) ** shift
            addend = round(exact)
            kept = min(max(addend, -PEAK), PEAK - 1)
            COVERAGE.sample(addend=[end(addend)], sum=[end(word + kept)], before=[before],
                            rounding=[{0: "exact", Fraction(1, 2): "tie"}.get(exact % 1, "other")],
                            scale=["other" if scale else "zero"])

    def stated(self, following):
        """Return when its words and the next command come."""
        when = residual_schedule(config, self.size)
        return when.codes, when.command - (3 if following.is_sum else 0)


def jobs():
    """Tokens and sums in turn, then sums that follow each other."""
    for number, job in enumerate(residuals(config, seed)):
        turn = number < 3
        if turn:
            yield Token(number)
        yield Sum(*job, "token" if turn else "sum")
    yield Token(9)


async def check(dut, rate):
    """Run the jobs back to back; compare values and, at full rate, cycles."""
    Clock(dut.clk, 10, unit="ns").start()
    print(f"seed {seed}")
    ports, work = QuantiserWithUnit(config), list(jobs())

    def packed(port, values):
        return [pack(port.payload.shape(), value) for value in values]

    commands = StreamDriver(dut, "i_command", Stalls(rate, seed=seed),
                            packed(ports.i_command, [job.command for job in work]))
    vectors = StreamDriver(dut, "i", Stalls(rate, seed=seed + 1),
                           packed(ports.i, [beat for job in work for beat in job.beats]))
    outputs = StreamMonitor(dut, "o", Stalls(rate, burst=2, seed=seed + 2))
    scales = StreamMonitor(dut, "o_scale", Stalls(rate, burst=2, seed=seed + 3))
    clocked = Clocked(dut, commands, vectors, outputs, scales)
    await clocked.reset()
    tokens = [job for job in work if not job.is_sum]
    total = sum(-(-job.size // config.lanes) for job in work)
    quiet = 0
    while (len(outputs.payloads), len(scales.payloads)) != (total, len(tokens)):
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
        assert quiet < PATIENCE, "the quantiser hangs"
    got = [ports.o_scale.payload.shape().from_bits(bits) for bits in scales.payloads]
    assert [{"m": scale.m, "e": scale.e} for scale in got] == [small(job.scale) for job in tokens]
    beat = 0
    for n, job in enumerate(work):
        ends = beat + -(-job.size // config.lanes)
        parts = [ports.o.payload.shape().from_bits(bits) for bits in outputs.payloads[beat:ends]]
        values = [value for part in parts for value in (part.words if job.is_sum else part.codes)]
        assert values[:job.size] == job.wanted, f"job {n}"
        assert [part.last for part in parts] == [0] * (len(parts) - 1) + [1]
        if not rate and n + 1 < len(work):
            taken = commands.cycles[n]
            assert (outputs.cycles[ends - 1] - taken, commands.cycles[n + 1] - taken) \
                == job.stated(work[n + 1]), f"job {n}"
        beat = ends


@cocotb.test()
async def sums_match_in_value_and_cycle(dut):
    """Full rate: every word, code, scale and cycle."""
    await check(dut, 0.0)


@cocotb.test()
async def sums_match_under_stalls(dut):
    """Stalls on every stream."""
    await check(dut, 0.4)


@cocotb.test()
async def every_corner_was_met(dut):
    """Look at what the sums of both runs had in them."""
    COVERAGE.check()
