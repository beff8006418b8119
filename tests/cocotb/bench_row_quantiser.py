# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the row quantiser: a model's own heads, random ones of every length, corners."""

import json
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.kv.row_quantiser import HeadCycles, head_cycles
from golden_model.kv_row_config import RowQuantiserConfig
from host.model_file import load_model
from hw.kv.row_quantiser import RowQuantiser
from sim.packing import fields, pack
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor
from tests.hw.kv.heads import (
    KINDS,
    captured,
    corners,
    near_ties,
    random_heads,
    ties,
)

config = RowQuantiserConfig(**json.loads(os.environ["CONFIG"]))
parameters = json.loads(os.environ["PARAMETERS"])
seed = int(os.environ["SEED"])

PATIENCE = 1_000
"""Cycles without any transfer after which the unit counts as hung."""


def heads():
    """Return heads of a model's last token, then others; of all of them every so many."""
    found = list(captured(load_model(Path(parameters["model"])), parameters["tokens"]))[-16:]
    for head, codes, scale in found:
        assert head.coded()[0] == codes
        assert scale.items() <= head.coded()[1].items()
    lengths = [32, 64, 100, 128, *np.random.default_rng(seed).integers(1, 129, 8).tolist()]
    return [*(head for head, *_ in found), *random_heads(lengths, seed), *corners(11), *ties(),
            *(near_ties(*kind) for kind in KINDS)][::parameters["every"]]


async def run(dut, rate):
    """Run the heads back to back, check their values, return their cycles."""
    Clock(dut.clk, 10, unit="ns").start()
    work, ports = heads(), RowQuantiser(config)

    def stalls(number):
        return Stalls(rate, burst=3, seed=seed + number)

    def packed(name, values):
        return [pack(getattr(ports, name).payload.shape(), value) for value in values]

    commands = StreamDriver(dut, "i_command", stalls(0),
                            packed("i_command", [head.command for head in work]))
    beats = [head.words(config) for head in work]
    words = StreamDriver(dut, "i", stalls(1), packed("i", [row for rows in beats for row in rows]))
    codes = StreamMonitor(dut, "o", stalls(2))
    scales = StreamMonitor(dut, "o_scale", Stalls(rate and 0.9, burst=40, seed=seed + 3))
    clocked = Clocked(dut, commands, words, codes, scales)
    await clocked.reset()
    wanted, quiet = (sum(map(len, beats)), len(work)), 0
    while (len(codes.payloads), len(scales.payloads)) != wanted and quiet < PATIENCE:
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    ends = np.cumsum([len(rows) for rows in beats]).tolist()
    took = []
    for n, (head, end, rows) in enumerate(zip(work, ends, beats, strict=True)):
        part = slice(end - len(rows), end)
        got = [fields(ports.o.payload.shape(), bits) for bits in codes.payloads[part]]
        values, scale = head.coded()
        assert [code for beat in got for code in beat.codes][:len(head.x)] == values
        assert [beat.last for beat in got] == [0] * (len(rows) - 1) + [1]
        assert scales.payloads[n] == packed("o_scale", [scale])[0]
        took.append(HeadCycles(commands.cycles[n], words.cycles[part], codes.cycles[part],
                               scales.cycles[n]))
    return work, took


@cocotb.test()
async def values_under_stalls(dut):
    """Stalls on every stream."""
    await run(dut, 0.4)


@cocotb.test()
async def values_and_cycles(dut):
    """Full rate, with the cycle of every transfer."""
    work, took = await run(dut, 0.0)
    assert took == head_cycles(config, [len(head.x) for head in work])
