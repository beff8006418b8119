# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of top-K: the largest vector, every switch and corner, in value and cycle."""

import dataclasses
import functools
import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.sparse.compactor import beat_counts, transfers
from golden_model.sparse.top_k import kept_count, top_k_mask
from golden_model.sparse.top_k_cycles import top_k_cycles
from golden_model.sparse_config import TopKConfig
from hw.sparse.compactor import channels_layout
from hw.sparse.top_k import command_layout, mask_layout
from sim.coverage import Coverage
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor

config = TopKConfig(**json.loads(os.environ["CONFIG"]))
seed = int(os.environ["SEED"])
leave_out = json.loads(os.environ["PARAMETERS"]).get("leave_out", "")

PATIENCE = 3_000
"""Cycles without any transfer after which the unit counts as hung."""

MODES = ["vector", "blocks"]
COVERAGE = Coverage("top_k", {
    "mode": MODES,
    "keep": ["none", "one", "some", "all but one", "all"],
    "ties": ["all equal", "at the threshold", "not at the threshold"],
    "switch": ["plain", "drop_zeros", "mask_only"],
    "size": ["one", "largest", "whole beats", "part of a beat"],
    "last_block": ["whole", "part"],
    "code": [-128, 127, 0],
}, {"keep_by_mode": ("mode", "keep"), "ties_by_mode": ("mode", "ties"),
    "switch_by_mode": ("mode", "switch")})


LAYOUT = channels_layout(config.compactor)

def bits(pairs):
    """Pack the elements of one transfer; without any it is the end marker."""
    channels = [{"index": index, "code": code} for index, code in pairs]
    if config.emit > 1:
        return LAYOUT.const({"channels": channels, "valid": (1 << len(pairs)) - 1,
                             "end": not pairs}).as_bits()
    return LAYOUT.const({**(channels[0] if channels else {}), "end": not pairs}).as_bits()


@functools.cache
def meaning(count):
    """Return which bits mean something in a transfer of `count` elements."""
    flags = {"end": 1, "valid": -1} if config.emit > 1 else {"end": 1}
    most = (1 << (config.max_n - 1).bit_length()) - 1
    return bits([(most, -1)] * count) | LAYOUT.const(flags).as_bits()


class Job:
    """One vector: what goes in and, as integers, what must come out."""

    def __init__(self, codes, keep, **switches):
        self.blocks = bool(switches.get("blocks"))
        self.mask_only = bool(switches.get("mask_only"))
        size = config.block_size if self.blocks else codes.size
        self.command = command_layout(config).const({
            "count": codes.size, "keep": kept_count((codes.size - 1) % size + 1, keep),
            "block_keep": kept_count(size, keep) if self.blocks else 0, **switches}).as_bits()
        padded = np.pad(codes, (0, -codes.size % config.lanes)).astype(np.int8).view(np.uint8)
        self.beats = [int.from_bytes(row.tobytes(), "little")
                      for row in padded.reshape(-1, config.lanes)]
        mask = top_k_mask(np.abs(codes.astype(np.int64)), keep, size if self.blocks else 0)
        rows = np.pad(mask, (0, -codes.size % config.lanes)).reshape(-1, config.lanes)
        self.masks = [mask_layout(config).const({"keep": row, "last": number == len(rows) - 1})
                      .as_bits() for number, row in
                      enumerate((rows << np.arange(config.lanes)).sum(axis=1).tolist())]
        compactor = dataclasses.replace(config.compactor,
                                        drop_zeros=bool(switches.get("drop_zeros")))
        sent = [] if self.mask_only else transfers(compactor, codes, mask)
        self.elements = [(bits(pairs), meaning(len(pairs))) for pairs in sent]
        counts = beat_counts(compactor, codes, mask)
        self.cycles = top_k_cycles(config, counts, blocks=self.blocks, mask_only=self.mask_only)
        self.codes, self.mask, self.size, self.switches = codes, mask, size, switches

    def sample(self):
        """Count the corners of this vector and of its segments."""
        keep, ties, n = set(), set(), self.codes.size
        for first in range(0, n, self.size):
            sizes = np.abs(self.codes[first:first + self.size].astype(int))
            mask = self.mask[first:first + self.size]
            kept = int(mask.sum())
            keep.add({0: "none", mask.size: "all"}.get(kept) or {
                1: "one", mask.size - 1: "all but one"}.get(kept, "some"))
            if 0 < kept < mask.size:
                tie = sizes[mask].min() == sizes[~mask].max()
                ties.add("at the threshold" if tie else "not at the threshold")
                if (sizes == sizes[0]).all():
                    ties.add("all equal")
        used = {"drop_zeros", "mask_only"} & set(self.switches)
        COVERAGE.sample(
            mode=["blocks" if self.blocks else "vector"], keep=keep, ties=ties,
            switch=used or ["plain"], code=self.codes.tolist(),
            size=[{1: "one", config.max_n: "largest"}.get(n),
                  "part of a beat" if n % config.lanes else "whole beats"],
            last_block=["part" if n % self.size else "whole"] if self.blocks else [])


def jobs():
    """Return the largest vector, then short ones: ties, corners, every switch."""
    rng = np.random.default_rng(seed)
    draw = rng.integers(-128, 128, config.max_n).astype(np.int8)
    ties = rng.integers(-1, 2, 1001).astype(np.int8)
    work = [Job(draw, (1, 2)), Job(draw[:1027], (1, 2), blocks=1), Job(ties, (1, 3)),
            Job(ties, (2, 3), drop_zeros=1), Job(ties[:555], (3, 4), blocks=1, drop_zeros=1),
            Job(draw[:999], (1, 1), mask_only=1), Job(draw[:64], (0, 1)), Job(draw[:1], (1, 1)),
            Job(np.full(333, -128, np.int8), (1, 333)), Job(draw[:128], (127, 128)),
            Job(draw[:77], (1, 3), blocks=1, mask_only=1)]
    # Whole blocks of every corner, and a part of one.
    size = config.block_size
    work += [Job(codes, (keep, size), blocks=1) for keep in (0, 1, size // 2, size - 1, size)
             for codes in (draw[:3 * size], np.full(size + 3, -128, np.int8))]
    ramp = np.arange(size).astype(np.int8)
    work += [Job(ramp, (1, 2), blocks=1), Job(ramp, (1, 2))]
    return [job for job in work if not (leave_out == "ties in blocks" and job.blocks
                                        and np.unique(np.abs(job.codes)).size < job.codes.size)]


async def run(dut, work, rate):
    """Run the jobs back to back; return the streams."""
    Clock(dut.clk, 10, unit="ns").start()

    def stalls(number):
        return Stalls(rate, burst=3, seed=seed + number)

    command = StreamDriver(dut, "i_command", payloads=[job.command for job in work])
    codes = StreamDriver(dut, "i", stalls(1), [beat for job in work for beat in job.beats])
    masks = StreamMonitor(dut, "o_mask", stalls(2))
    elements = StreamMonitor(dut, "o", stalls(3))
    clocked = Clocked(dut, command, codes, masks, elements)
    await clocked.reset()
    wanted = sum(len(job.masks) for job in work), sum(len(job.elements) for job in work)
    quiet = 0
    while (len(masks.payloads), len(elements.payloads)) != wanted and quiet < PATIENCE:
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    return command, codes, masks, elements


def check_values(work, masks, elements):
    for job in work:
        job.sample()
    assert masks.payloads == [mask for job in work for mask in job.masks]
    wanted = [element for job in work for element in job.elements]
    assert len(elements.payloads) == len(wanted)
    assert [got & mask for got, (_, mask) in zip(elements.payloads, wanted)] \
        == [element for element, _ in wanted]


@cocotb.test()
async def values_under_stalls(dut):
    """Everything but the largest vector, with stalls on every stream."""
    work = jobs()[1:]
    *_, masks, elements = await run(dut, work, 0.4)
    check_values(work, masks, elements)


@cocotb.test()
async def values_and_cycles(dut):
    """Everything at full rate; each vector follows as soon as it can."""
    work = jobs()
    commands, codes, masks, elements = await run(dut, work, 0.0)
    check_values(work, masks, elements)
    beat = element = command = 0
    cleared = config.selector.histogram_clear  # after reset
    for job, taken in zip(work, commands.cycles):
        assert taken == command
        origin = taken if job.blocks else max(taken, cleared - 1)
        command = origin + job.cycles.next_command
        cleared = max(cleared, origin + job.cycles.cleared)
        loaded, masked = (stream.cycles[beat:beat + len(job.beats)] for stream in (codes, masks))
        emitted = elements.cycles[element:element + len(job.elements)]
        assert [[cycle - origin for cycle in log] for log in (loaded, masked, emitted)] \
            == [*job.cycles[:3]]
        beat += len(job.beats)
        element += len(job.elements)


@cocotb.test()
async def every_corner_was_met(dut):
    """Look at what the jobs of both runs had in them."""
    COVERAGE.check()
