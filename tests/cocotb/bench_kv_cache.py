# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the KV cache: appends, reads, eviction, saving and restoring."""

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock

from golden_model.kv.cache import KvCache as Golden
from golden_model.kv.reader import address_cycles
from golden_model.kv_config import KvCacheConfig
from hw.kv.layouts import (
    Operation,
    append_layout,
    control_layout,
    key_word_layout,
    read_layout,
    row_word_layout,
    value_word_layout,
)
from sim.streams import Clocked, Stalls, StreamDriver, StreamMonitor

config = KvCacheConfig(**json.loads(os.environ["CONFIG"]))
shape = json.loads(os.environ["PARAMETERS"])
seed = int(os.environ["SEED"])

PATIENCE = 2_000
INPUTS = ("i_control", "i_append", "i_row", "i_read_k", "i_read_v", "i_restore")
OUTPUTS = ("o_k", "o_v", "o_save")


class Bench:
    """Streams of the cache, and the golden model that is told the same in the same order."""

    def __init__(self, dut, rate):
        Clock(dut.clk, 10, unit="ns").start()
        dut.clear_errors.value = 0
        self.dut = dut
        self.golden = Golden(config)
        self.rng = np.random.default_rng(seed)
        self.inputs = {name: StreamDriver(dut, name, Stalls(rate, burst=2, seed=seed + number))
                       for number, name in enumerate(INPUTS)}
        for driver in self.inputs.values():  # `ready` of reads depends on payloads
            driver.payload.value = 0
        self.outputs = {name: StreamMonitor(dut, name, Stalls(rate, burst=2, seed=seed + number))
                        for number, name in enumerate(OUTPUTS, len(INPUTS))}
        self.clocked = Clocked(dut, *self.inputs.values(), *self.outputs.values())
        self.wanted = {name: [] for name in OUTPUTS}

    def control(self, op, **fields):
        self.inputs["i_control"].queue.append(
            control_layout(config).const({"op": op, **fields}).as_bits())

    def read(self, slot, stream, value):
        name, layout = ("v", value_word_layout) if value else ("k", key_word_layout)
        layout = layout(config)
        self.inputs[f"i_read_{name}"].queue.append(
            read_layout(config).const({"slot": slot, "stream": stream}).as_bits())
        self.wanted[f"o_{name}"] += [layout.const({
            field: list(part) if field == "codes" else part
            for field, part in word._asdict().items() if field in layout.members}).as_bits()
            for word in self.golden.read(slot, stream, value)]

    def append(self, slot, stream, value):
        words = self.rng.integers(0, 16, (shape["words"], config.lanes)).tolist()
        scale = int(self.rng.integers(1 << 16))
        self.golden.append(slot, stream, value, words, scale)
        self.inputs["i_append"].queue.append(append_layout(config).const(
            {"slot": slot, "stream": stream, "value": value}).as_bits())
        for number, codes in enumerate(words):
            self.inputs["i_row"].queue.append(row_word_layout(config).const(
                {"codes": codes, "scale": scale, "last": number == len(words) - 1}).as_bits())

    async def drain(self):
        """Go on until everything is done; compare what came."""
        quiet, left = 0, True
        while left or quiet < 8 or not int(self.dut.idle.value):
            seen = await self.clocked.step()
            quiet = 0 if any(valid and ready for valid, ready in seen) else quiet + 1
            assert quiet < PATIENCE, "the cache hangs"
            left = (any(driver.queue for driver in self.inputs.values())
                    or any(len(self.outputs[name].payloads) < len(wanted)
                           for name, wanted in self.wanted.items()))
        for name in OUTPUTS:
            assert self.outputs[name].payloads == self.wanted[name], name
        assert self.dut.errors.value == 0, str(self.dut.errors.value)

    async def begin(self):
        await self.clocked.reset()
        geometry = {name: shape[name] for name in ("slots", "streams", "words", "window")}
        self.control(Operation.CONFIGURE, **geometry)
        self.golden.configure(**geometry)
        for slot in range(shape["slots"]):
            self.control(Operation.CLEAR, slot=slot)
            self.golden.clear(slot)
        await self.drain()

    async def token(self, slot):
        """Append a token's rows while what was there is read by other streams' commands."""
        for stream in range(shape["streams"]):
            for value in (False, True):
                self.append(slot, stream, value)
        await self.drain()
        for stream in range(shape["streams"]):
            for value in (False, True):
                self.read(slot, stream, value)
        await self.drain()
        self.control(Operation.ADVANCE, slot=slot)
        self.golden.advance(slot)
        await self.drain()


@cocotb.test()
async def sequences_under_stalls(dut):
    """Beyond the window in every slot; then one is moved to another slot and goes on there."""
    bench = Bench(dut, 0.3)
    await bench.begin()
    for _ in range(shape["window"] + 2):
        for slot in range(shape["slots"]):
            await bench.token(slot)
    beats = bench.golden.save(0)
    bench.wanted["o_save"] += beats
    bench.control(Operation.SAVE, slot=0)
    await bench.drain()
    slot = shape["slots"] - 1
    bench.golden.restore(slot, shape["window"], beats)
    bench.control(Operation.RESTORE, slot=slot, length=shape["window"])
    bench.inputs["i_restore"].queue.extend(beats)
    await bench.drain()
    await bench.token(slot)


@cocotb.test()
async def reads_at_full_rate(dut):
    """See a word a cycle through rows, rings and commands."""
    bench = Bench(dut, 0.0)
    await bench.begin()
    for _ in range(shape["window"] + 1):
        await bench.token(0)
    before = {name: len(bench.outputs[name].cycles) for name in ("o_k", "o_v")}
    sent = {name: len(bench.inputs[name].cycles) for name in ("i_read_k", "i_read_v")}
    for stream in range(shape["streams"]):
        for value in (False, True):
            bench.read(0, stream, value)
    await bench.drain()
    words = shape["window"] * shape["words"]
    for side in "kv":
        begin = bench.inputs[f"i_read_{side}"].cycles[sent[f"i_read_{side}"]]
        addresses = address_cycles([(begin, words)] * shape["streams"])
        got = bench.outputs[f"o_{side}"].cycles[before[f"o_{side}"]:]
        assert got == [cycle + config.bank_latency for cycle in addresses]
        assert got == list(range(begin + config.read_latency,
                                 begin + config.read_latency + words * shape["streams"]))
