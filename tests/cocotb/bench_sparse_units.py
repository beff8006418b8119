# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of compactor and row gather: values, every cycle, and that corners were met."""

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.sparse.compactor import beat_counts, emission_cycles, transfers
from golden_model.sparse.row_gather import beats, gather_cycles, row_gather
from hw.sparse.compactor import channel_layout, group_layout
from hw.sparse.row_gather import row_layout, sum_layout
from sim.coverage import Coverage
from sim.packing import pack
from sim.streams import Clocked, Memory, Stalls, StreamDriver, StreamMonitor
from tests.cocotb.sparse_units import COMPACTOR, GATHER, sparse_units
from tests.hw.sparse import test_compactor, test_row_gather
from tests.hw.sparse.weighted import packed

seed = int(os.environ["SEED"])
leave_out = json.loads(os.environ["PARAMETERS"]).get("leave_out", "")
LATENCY = 7
PATIENCE = 300
"""Cycles without any transfer after which a unit counts as hung."""


def share(count, total):
    """Corner of how many of a whole were taken."""
    return {0: "none", 1: "one", total: "all"}.get(count, "some")


async def until(clocked, done, memory=None):
    """Step until `done` says so, with the answers of a memory."""
    quiet = 0
    while not done():
        if memory:
            memory.offer(clocked.cycle)
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
        assert quiet < PATIENCE, "the unit hangs"


async def compact(dut, rate, coverage):
    """Vectors one after the other, each with the cycle of every transfer at full rate."""
    layout = channel_layout(COMPACTOR.max_n)
    i = StreamDriver(dut, "compactor_i", Stalls(rate, burst=2, seed=seed))
    o = StreamMonitor(dut, "compactor_o", Stalls(rate, burst=3, seed=seed + 1))
    clocked = Clocked(dut, i, o)
    await clocked.reset()
    one = np.arange(COMPACTOR.max_n) == 5
    for codes, keep in [*test_compactor.vectors(COMPACTOR, seed), (np.full(one.size, -128, np.int8),
                                                                   one)]:
        origin = clocked.cycle + 1  # what is queued now is offered in the next cycle
        groups = test_compactor.groups(COMPACTOR, codes, keep)
        elements = transfers(COMPACTOR, codes, keep)
        i.queue.extend(pack(group_layout(COMPACTOR), group) for group in groups)
        first = len(o.payloads), len(i.cycles)
        end = first[0] + len(elements)
        await until(clocked, lambda end=end: len(o.payloads) == end)
        got = [layout.from_bits(bits) for bits in o.payloads[first[0]:]]
        assert [test_compactor.pairs(COMPACTOR, part) for part in got] == elements
        taken, emitted = emission_cycles(COMPACTOR, beat_counts(COMPACTOR, codes, keep))
        if not rate:
            assert [cycle - origin for cycle in i.cycles[first[1]:]] == taken
            assert [cycle - origin for cycle in o.cycles[first[0]:]] == emitted
        coverage.sample(
            kept=[share(len(elements) - 1, codes.size)],
            zeros=["dropped" if (keep & (codes == 0)).any() else "none"],
            size=["one" if codes.size == 1 else "longest" if codes.size == COMPACTOR.max_n else "",
                  "whole beats" if codes.size % COMPACTOR.lanes == 0 else "part of a beat"],
            queue=["full" if taken[-1] >= len(taken) else "never full"],
            code=codes[keep].tolist())


@cocotb.test()
async def compactor_unit(dut):
    """Every density and size; stalls on both sides."""
    Clock(dut.clk, 10, unit="ns").start()
    print(f"seed {seed}")
    coverage = Coverage("compactor", {
        "kept": ["none", "one", "some", "all"], "zeros": ["dropped", "none"],
        "size": ["one", "longest", "whole beats", "part of a beat"],
        "queue": ["full", "never full"], "code": [-128]})
    await compact(dut, 0.0, coverage)
    await compact(dut, 0.5, coverage)
    coverage.check()


async def gather(dut, rate, coverage):
    """Vectors one after the other, each with the cycle of every transfer at full rate."""
    def stalls(number):
        return Stalls(rate, burst=3, seed=seed + number)

    ports = sparse_units()
    vectors = StreamDriver(dut, "row_gather_i_vector")
    command = StreamDriver(dut, "row_gather_i_command")
    rows = StreamDriver(dut, "row_gather_i", stalls(1))
    requests = StreamMonitor(dut, "row_gather_o_request", stalls(2))
    weights = StreamDriver(dut, "row_gather_i_weights", stalls(3))
    sums = StreamMonitor(dut, "row_gather_o", stalls(4))
    clocked = Clocked(dut, vectors, command, rows, requests, weights, sums)
    memory = Memory(requests, weights, LATENCY)
    await clocked.reset()
    shapes = [port.payload.shape() for port in (ports.row_gather_i_vector,
                                                ports.row_gather_i_command)]
    *_, longest = test_row_gather.cases(GATHER, seed)
    for vector, matrix, named in [*test_row_gather.cases(GATHER, seed),
                                  (*longest[:2], np.array([GATHER.max_rows - 1]))]:
        if leave_out == "no rows" and not named.size:
            continue
        beat_list = beats(GATHER, vector).tolist()
        blocks = len(beat_list)
        vectors.queue.extend(pack(shapes[0], beat) for beat in beat_list)
        command.queue.append(pack(shapes[1], {"blocks": blocks}))
        await until(clocked, lambda: not vectors.queue)
        logs = [stream.cycles for stream in (rows, requests, weights, sums)]
        firsts = [len(log) for log in logs]
        origin = clocked.cycle + 1
        layout = row_layout(GATHER)
        rows.queue.extend(pack(layout, {"index": row, "end": 0}) for row in named.tolist())
        rows.queue.append(pack(layout, {"index": 0, "end": 1}))
        memory.bursts.extend([packed(GATHER, beat) for beat in beats(GATHER, matrix[row])]
                             for row in named)
        await until(clocked, lambda end=firsts[3] + named.size + 1: len(sums.cycles) == end, memory)
        got = [sum_layout(GATHER).from_bits(bits) for bits in sums.payloads[firsts[3]:]]
        wanted = zip(named.tolist(), row_gather(vector, matrix, named).tolist())
        assert [None if part.end else (part.index, part.sum) for part in got] == [*wanted, None]
        assert requests.payloads[firsts[1]:] == named.tolist()
        if not rate:
            assert [[cycle - origin for cycle in log[first:]] for log, first in zip(logs, firsts)] \
                == [*gather_cycles(GATHER, [(named.size, blocks)], LATENCY)]
        coverage.sample(rows=[share(named.size, GATHER.max_rows)],
                        beats=["one" if blocks == 1 else "more",
                               "longest" if vector.size == GATHER.max_k else ""],
                        code=vector.tolist())


@cocotb.test()
async def row_gather_unit(dut):
    """No row, one, some and all; stalls on every stream."""
    Clock(dut.clk, 10, unit="ns").start()
    print(f"seed {seed}")
    coverage = Coverage("row_gather", {
        "rows": ["none", "one", "some", "all"], "beats": ["one", "more", "longest"],
        "code": [-8, 7]}, {"both": ("rows", "beats")})
    await gather(dut, 0.0, coverage)
    await gather(dut, 0.4, coverage)
    coverage.check()
