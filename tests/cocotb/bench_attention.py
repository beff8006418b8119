# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of attention against a cache that answers reads, in value and cycle."""

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.attention.attention import attention_cycles, score_scale_of
from golden_model.attention_config import AttentionConfig
from hw.attention.attention import Attention
from sim.packing import pack
from sim.streams import Clocked, Memory, Stalls, StreamDriver, StreamMonitor
from tests.hw.attention.tokens import (
    UNIT,
    extreme_token,
    query_payloads,
    random_token,
    row_payloads,
    small,
)

config = AttentionConfig(**json.loads(os.environ["CONFIG"]))
seed = int(os.environ["SEED"])
heads, kv_heads, head_dim = json.loads(os.environ["PARAMETERS"])

LATENCY = 5
PATIENCE = 2_000
"""Cycles without any transfer after which the unit counts as hung."""
QUIET = {"i_command": 0, "i_query": 1, "i_query_scale": 2, "i_key": 3, "i_value": 4, "o": 5,
         "o_scale": 6, "o_key_read": 7, "o_value_read": 8}


class Job:
    """One token: what goes in and what must come out, as integers."""

    def __init__(self, token):
        ports = Attention(config)
        group = heads // kv_heads

        def bits(port, payloads):
            layout = getattr(ports, port).payload.shape()
            return [pack(layout, payload) for payload in payloads]

        words, beats = -(-head_dim // config.lanes), -(-head_dim // config.beat)
        passes = [head // group for head in range(0, heads, config.queries)]
        sums, scales = token.expected(config)
        self.sent = {
            "i_command": bits("i_command", [{
                "passes": len(passes), "shared": group // config.queries, "slot": 0, "stream": 0,
                "beats": beats, "words": words, "score_scale": small(score_scale_of(head_dim))}]),
            "i_query": bits("i_query", query_payloads(config, token.q)),
            "i_query_scale": bits("i_query_scale", small(token.q_scale)),
        }
        self.rows = {
            "i_key": [bits("i_key", row_payloads(config, token.keys[kv], token.key_scale[kv],
                                                 token.value_scale[kv])) for kv in passes],
            "i_value": [bits("i_value", row_payloads(config, token.values[kv])) for kv in passes],
        }
        read = [{"slot": 0, "stream": kv} for kv in passes]
        self.wanted = {
            "o": bits("o", [{"sums": beat, "last": int(n % beats == beats - 1)} for n, beat in
                            enumerate(sums.reshape(-1, config.beat).tolist())]),
            "o_scale": bits("o_scale", small(scales)),
            "o_key_read": bits("o_key_read", read), "o_value_read": bits("o_value_read", read),
        }


def jobs():
    """Tokens of every length that is special, the last one a full window."""
    rng = np.random.default_rng(seed)
    shape = heads, kv_heads, head_dim
    rows = [1, 2, 7, config.max_rows]
    return [*(Job(random_token(rng, *shape, count)) for count in rows[:3]),
            *(Job(extreme_token(*shape, 6, kind=kind)) for kind in (
                "highest", "lowest", "zero", "alike")),
            Job(random_token(rng, *shape, rows[3]))]


async def run(dut, work, rate, memory=True):
    """Run jobs back to back; check the values; return the monitors."""
    Clock(dut.clk, 10, unit="ns").start()

    def stalls(name):
        return Stalls(rate, burst=3, seed=seed + QUIET[name])

    drivers = {name: StreamDriver(dut, name, stalls(name), [
        bits for job in work for bits in job.sent.get(name, ())]) for name in (
            "i_command", "i_query", "i_query_scale", "i_key", "i_value")}
    monitors = {name: StreamMonitor(dut, name, stalls(name)) for name in work[0].wanted}
    bursts = {name: [burst for job in work for burst in job.rows[name]]
              for name in work[0].rows}
    memories = []
    for name, read in (("i_key", "o_key_read"), ("i_value", "o_value_read")):
        if memory:
            memories.append(Memory(monitors[read], drivers[name], LATENCY, bursts[name]))
        else:
            drivers[name].queue.extend(bits for burst in bursts[name] for bits in burst)
    clocked = Clocked(dut, *drivers.values(), *monitors.values())
    await clocked.reset()
    wanted = {name: [bits for job in work for bits in job.wanted[name]] for name in monitors}
    quiet = 0
    while quiet < PATIENCE and any(len(monitor.payloads) < len(wanted[name])
                                   for name, monitor in monitors.items()):
        for answers in memories:
            answers.offer(clocked.cycle)
        seen = await clocked.step()
        quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
    for name, monitor in monitors.items():
        assert monitor.payloads == wanted[name], name
    return drivers, monitors


@cocotb.test()
async def values_under_stalls(dut):
    """Stalls on every stream, reads answered late."""
    await run(dut, jobs(), 0.4)


@cocotb.test()
async def values_at_full_rate(dut):
    """Commands that overlap."""
    await run(dut, jobs(), 0.0)


@cocotb.test()
async def cycles_of_a_full_window(dut):
    """Compare the cycle of every transfer."""
    drivers, monitors = await run(dut, jobs()[-1:], 0.0, memory=False)
    stated = attention_cycles(config, UNIT, heads=heads, rows=config.max_rows, head_dim=head_dim)
    start = drivers["i_command"].cycles[0]
    names = ("i_query", "i_key", "i_value", "o", "o_scale")
    seen = [[cycle - start for cycle in {**drivers, **monitors}[name].cycles] for name in names]
    assert seen == [*stated]
