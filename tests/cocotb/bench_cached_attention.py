# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of attention with its cache: sequences that are made up, or a model's own."""

import json
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.attention.cached_attention_cycles import command_cycles
from golden_model.kv_config import ERRORS
from host.model_file import load_model
from hw.attention.cached_attention import CachedAttention
from sim.packing import pack
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.hw.attention.cached import Model, Sequence, model_sequence
from tests.hw.attention.tokens import small

parameters = json.loads(os.environ["PARAMETERS"])
seed = int(os.environ["SEED"])

PATIENCE = 3_000
"""Cycles without any transfer after which the unit counts as hung."""
STREAMS = ("i_command", "i_control", "i", "i_restore", "o", "o_scale", "o_save")


def sequence():
    """Return what the parameters ask for."""
    if "file" not in parameters:
        model = Model(**parameters["model"])
        return Sequence(model).begin().tokens(np.random.default_rng(seed), parameters["count"])
    found, outputs = model_sequence(
        load_model(Path(parameters["file"])), parameters["tokens"], parameters["layers"],
        **{name: parameters[name] for name in ("window", "lanes", "queries")})
    # The decoder's own words, and not only those of the golden model.
    assert found.wanted == [row for words, _ in outputs
                            for row in words.reshape(-1, found.config.beat).tolist()]
    assert found.scales == [small(scale) for _, scale in outputs]
    return found


async def run(dut, work, rate):
    """Give commands in order, each after the one before was taken; check what comes out."""
    Clock(dut.clk, 10, unit="ns").start()
    ports = CachedAttention(work.config)

    def packed(name, values):
        layout = getattr(ports, name).payload.shape()
        return [pack(layout, value) for value in values]

    dut.clear_errors.value = 0
    drivers = {name: StreamDriver(dut, name, Stalls(rate, burst=3, seed=seed + n))
               for n, name in enumerate(STREAMS[:4])}
    for driver in drivers.values():  # `ready` depends on payloads
        driver.payload.value = 0
    monitors = {name: StreamMonitor(dut, name, Stalls(rate, burst=3, seed=seed + 9 + n))
                for n, name in enumerate(STREAMS[4:])}
    drivers["i"].queue.extend(packed("i", work.words))
    clocked = Clocked(dut, *drivers.values(), *monitors.values())
    await clocked.reset()
    wanted, quiet, given = {"o": len(work.wanted), "o_scale": len(work.scales)}, 0, 0
    while quiet < PATIENCE:
        taken = sum(len(drivers[name].cycles) for name in STREAMS[:2])
        if given == taken == len(work.commands) and int(dut.idle.value) and all(
                len(monitors[name].payloads) == count for name, count in wanted.items()):
            break
        if given == taken and given < len(work.commands):
            name, payload = work.commands[given]
            drivers[name].queue.extend(packed(name, [payload]))
            given += 1
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    assert monitors["o"].payloads == packed("o", work.wanted)
    assert monitors["o_scale"].payloads == packed("o_scale", work.scales)
    assert not drivers["i"].queue
    errors = int(dut.errors.value)
    assert {name for n, name in enumerate(ERRORS) if errors >> n & 1} == work.golden.cache.errors
    return drivers["i_command"].cycles, monitors["o"].cycles


def first_words(work, commands, cycles):
    """Cycles of the words of each command's first repeat, counted from the command."""
    beats = work.model.heads * work.model.n // work.config.beat
    repeats = [payload["repeats"] for name, payload in work.commands if name == "i_command"]
    begins = [beats * sum(repeats[:n]) for n in range(len(repeats))]
    return [[cycle - start for cycle in cycles[begin:begin + beats]]
            for start, begin in zip(commands, begins)]


@cocotb.test(skip=parameters.get("rate") == 0)
async def words_under_stalls(dut):
    """Stalls on every stream."""
    await run(dut, sequence(), 0.4)


@cocotb.test()
async def words_and_cycles(dut):
    """Full rate: the cycle of every word is the one that the golden model states."""
    work = sequence()
    model, took = work.model, first_words(work, *await run(dut, work, 0.0))
    each = model.layers * model.slots
    for number, cycles in enumerate(took):
        stated = command_cycles(
            work.config, heads=model.heads, kv_heads=model.kv_heads, n=model.n,
            rows=min(number // each + 1, model.window))
        assert cycles == stated.out, number
