# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the sampler: corners, thresholds at every running sum, a model's own logits."""

import json
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.exact import ExactDecoder
from golden_model.sampler_config import SamplerConfig
from golden_model.sampling import TemperatureSampler
from host.model_file import load_model
from sim.packing import pack, small
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.hw.head.draws import Draw, SamplerWithUnit, corners, cycles, random_draws, tokens

config = SamplerConfig(**json.loads(os.environ["CONFIG"]))
parameters = json.loads(os.environ["PARAMETERS"])
seed = int(os.environ["SEED"])

PATIENCE = 3_000
"""Cycles without any transfer after which the unit counts as hung."""


def work():
    """Return draws of a trained model's logits, then others."""
    model = ExactDecoder(load_model(Path(parameters["model"])))
    logits = model.forward(parameters["tokens"])
    unit = float(TemperatureSampler(parameters["temperature"], 1).unit)
    own = [Draw(row, float(scale), unit) for row, scale in zip(logits, model.logit_scale)]
    return [*own, *corners(config), *random_draws(config, parameters["random"], seed)]


async def run(dut, rate):
    """Draw a token of each, check tokens and states, return the cycles."""
    Clock(dut.clk, 10, unit="ns").start()
    draws, ports = work(), SamplerWithUnit(config)

    def driver(name, number, values):
        layout = getattr(ports, name).payload.shape()
        return StreamDriver(dut, name, Stalls(rate, burst=3, seed=seed + number),
                            [pack(layout, value) for value in values])

    scales = driver("i_scale", 0, [small(one.scale) for one in draws])
    logits = driver("i", 1, [beat for one in draws for beat in one.beats])
    out = StreamMonitor(dut, "o", Stalls(rate, burst=9, seed=seed + 2))
    clocked = Clocked(dut, scales, logits, out)
    dut.load_seed.value = 0
    dut.sampling.value = pack(ports.sampling.shape(), draws[0].sampling)
    await clocked.reset()
    dut.load_seed.value, dut.seed.value = 1, seed
    quiet = taken = 0
    while len(out.payloads) < len(draws) and quiet < PATIENCE:
        seen = await clocked.step()
        dut.load_seed.value = 0
        if len(scales.cycles) > taken:
            one, taken = draws[taken], taken + 1
            if one.seed is not None:
                dut.load_seed.value, dut.seed.value = 1, one.seed
            if taken < len(draws):
                dut.sampling.value = pack(ports.sampling.shape(), draws[taken].sampling)
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    assert out.payloads == [token for token, _ in tokens(draws, seed)]
    await clocked.step()
    assert int(dut.random_state.value) == tokens(draws, seed)[-1][1]
    ends = np.cumsum([len(one.logits) for one in draws]).tolist()
    starts = [end - len(one.logits) for end, one in zip(ends, draws)]
    took = list(zip(scales.cycles, (logits.cycles[n] for n in starts), out.cycles))
    return draws, took


@cocotb.test()
async def tokens_under_stalls(dut):
    """Stalls on every stream."""
    await run(dut, 0.4)


@cocotb.test()
async def tokens_and_cycles(dut):
    """Full rate, with the cycle of every transfer that follows from the draws."""
    draws, took = await run(dut, 0.0)
    assert took == cycles(config, draws, seed)
