# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of a whole accelerator: buses that are not ours, random stalls, injected faults.

Registers over AXI4-Lite with the image behind AXI4, or over Wishbone with the image on the chip.
The decoder is a stand-in, or with ``PARAMETERS.core`` of ``decoder`` the real one on a small model,
which reads fewer tokens.
"""

import json
import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Event, RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiReadBus, AxiSlaveRead
from cocotbext.wishbone.driver import WBOp, WishboneMaster

from golden_model.control.token_loop import Start
from golden_model.image.axi_port import memory_content
from golden_model.registers import register
from tests.hw import systems, whole

seed = int(os.environ["SEED"])
parameters = json.loads(os.environ["PARAMETERS"])
REAL = parameters.get("core") == "decoder"
MADE = whole if REAL else systems
CONFIG = MADE.configuration(parameters["bus"], parameters["memory"])
IMAGE = MADE.image_of(CONFIG)
Judge, prompt = MADE.Judge, MADE.prompt
QUIET = 1500 if REAL else 300
"""Cycles without progress that only a fault gives."""
BASE = 0x40000
ACCESS_MICROSECONDS = 50
SIGNALS = {"cyc": "cyc", "stb": "stb", "we": "we", "adr": "adr", "datwr": "dat_w",
           "datrd": "dat_r", "ack": "ack", "sel": "sel", "err": "err"}


class Memory:
    """The image; errors in a range, or no answer at all."""

    def __init__(self):
        self.content = memory_content(CONFIG.axi_port, IMAGE.content)
        self.bad = range(0)
        self.answers = Event()
        self.answers.set()

    async def read(self, address, length):
        await self.answers.wait()
        if address in self.bad:
            raise ValueError("injected")
        start = address - BASE
        return self.content[start:start + length].ljust(length, b"\0")


def pauses(number, rate):
    """Cycles in which a channel is stalled."""
    rng = random.Random(seed + number)
    while True:
        yield rng.random() < rate


class Bench:
    """The device, a host and a memory."""

    def __init__(self, dut, rate):
        self.dut, self.rate = dut, rate
        self.axi = CONFIG.system.bus == "axi_lite"
        self.memory = None
        channels = []
        if self.axi:
            self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_"), dut.clk, dut.rst)
            for part in (self.host.write_if, self.host.read_if):
                part.log.setLevel("WARNING")
            channels += [self.host.write_if.aw_channel, self.host.write_if.w_channel,
                         self.host.write_if.b_channel, self.host.read_if.ar_channel,
                         self.host.read_if.r_channel]
        if CONFIG.system.memory == "axi":
            self.memory = Memory()
            self.slave = AxiSlaveRead(AxiReadBus.from_prefix(dut, "m_axi_"), dut.clk, dut.rst,
                                      target=self.memory)
            self.slave.log.setLevel("WARNING")
            self.slave.ar_channel.queue_occupancy_limit = 64
            channels += [self.slave.ar_channel, self.slave.r_channel]
        for number, channel in enumerate(channels):
            if rate:
                channel.set_pause_generator(pauses(number, rate))

    async def reset(self):
        Clock(self.dut.clk, 10, unit="ns").start()
        self.dut.rst.value = 1
        if not self.axi:
            for name in ("cyc", "stb", "we", "adr", "dat_w"):
                getattr(self.dut, f"wb__{name}").value = 0
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)
        if not self.axi:
            pipelined = CONFIG.system.bus == "wishbone_pipelined"
            WishboneMaster._optional_signals = []
            self.master = WishboneMaster(
                self.dut, "wb_", self.dut.clk, timeout=100,
                signals_dict={**SIGNALS, "stall": "stall"} if pipelined else SIGNALS)

    async def word(self, name):
        offset = register(name).offset
        if self.axi:
            answer = await with_timeout(cocotb.start_soon(self.host.read(offset, 4)),
                                        ACCESS_MICROSECONDS, "us")
            return int.from_bytes(answer.data, "little")
        found = await self.master.send_cycle([WBOp(adr=offset >> 2, acktimeout=50)])
        return int(found[0].datrd)

    async def read(self, name):
        word = await self.word(name)
        return {field.name: (word & field.mask) >> field.low for field in register(name).fields}

    async def write(self, name, *words):
        offset = register(name).offset
        if self.axi:
            for word in words:
                await with_timeout(
                    cocotb.start_soon(self.host.write(offset, word.to_bytes(4, "little"))),
                    ACCESS_MICROSECONDS, "us")
            return
        for word in words:
            await self.master.send_cycle([WBOp(adr=offset >> 2, dat=word, acktimeout=50)])

    async def load(self):
        if self.memory is not None:
            await self.write("image_base_low", BASE)
            return
        await self.write("image_address", 0)
        per_beat = CONFIG.image_loader.words
        for beat in IMAGE.beats:
            number = int.from_bytes(beat.tobytes(), "little")
            await self.write("image_data", *(number >> 32 * n & 0xFFFF_FFFF
                                             for n in range(per_beat)))

    async def errors(self):
        return {name for name, value in (await self.read("errors")).items() if value}

    async def idle(self):
        for _ in range(2000):
            if (await self.read("status"))["idle"]:
                return
        raise AssertionError("it does not come to rest")

    async def begin(self, start, slot=0):
        await self.write("kv_slot", slot)
        await self.write("prompt_count", len(start.prompt))
        await self.write("generate_count", start.generate)
        await self.write("control", 1)

    async def runs(self, judge, start, slot=0):
        """Run a start, and compare its text."""
        expected, _ = judge.text(start, slot)
        await self.begin(start, slot)
        rest, got = list(start.prompt), []
        while len(got) < len(expected):
            levels = await self.read("levels")
            if rest and levels["prompt_space"]:
                await self.write("prompt_token", rest.pop(0))
            elif levels["generated"]:
                got.append(await self.read("generated_token"))
        await self.idle()
        assert [token["token"] for token in got] == expected
        assert [token["last"] for token in got] == [0] * (len(got) - 1) + [1]
        assert await self.errors() == set()

    async def recovers(self, judge):
        """Reset and clear, then text is right from the first token on."""
        await self.write("control", 4)
        await self.idle()
        await self.write("errors", 0xFFFF_FFFF)
        judge.soft_reset()
        await self.runs(judge, Start(prompt=prompt(3), generate=2))


async def bench(dut, rate=0.3):
    made = Bench(dut, rate)
    await made.reset()
    await made.load()
    return made, Judge(CONFIG, IMAGE)


@cocotb.test()
async def text_is_right_under_random_stalls(dut):
    one, judge = await bench(dut, 0.4)
    longest = 5 if REAL else 6
    for slot, start in ((0, Start(prompt=prompt(longest), generate=longest - 1)),
                        (1, Start(prompt=(7,), generate=2)), (0, Start(generate=1)),
                        (1, Start(prompt=prompt(2), generate=1))):
        await one.runs(judge, start, slot)
    assert (await one.read("count_tokens"))["value"] == 2 * longest - 2 + 2 + 1 + 2


@cocotb.test()
async def a_soft_reset_at_any_time_recovers(dut):
    one, judge = await bench(dut)
    rng = random.Random(seed)
    await one.runs(judge, Start(prompt=prompt(3), generate=2))
    for _ in range(2 if REAL else 6):
        await one.begin(Start(prompt=prompt(3), generate=5))
        for token in prompt(3)[:rng.randrange(4)]:
            await one.write("prompt_token", token)
        await ClockCycles(dut.clk, rng.randrange(5000 if REAL else 80))
        await one.recovers(judge)


@cocotb.test()
async def errors_of_the_memory_are_sticky_and_hang_nothing(dut):
    one, judge = await bench(dut)
    if one.memory is None:
        return
    await one.runs(judge, Start(prompt=prompt(3), generate=2))
    one.memory.bad = range(BASE, BASE + (1 << 20))
    await one.begin(Start(prompt=(4,), generate=2))
    await one.write("prompt_token", 4)
    await one.idle()
    assert "bus_slave" in await one.errors()
    assert (await one.read("error_address_low"))["value"] >= BASE
    one.memory.bad = range(0)
    await one.recovers(judge)


@cocotb.test()
async def a_silent_memory_trips_the_watchdog(dut):
    one, judge = await bench(dut)
    if one.memory is None:
        return
    await one.runs(judge, Start(prompt=prompt(3), generate=2))
    await one.write("watchdog_limit", QUIET)
    one.memory.answers.clear()
    await one.begin(Start(prompt=(4,), generate=2))
    await one.write("prompt_token", 4)
    await ClockCycles(dut.clk, 3 * QUIET)
    assert {"watchdog", "bus_lost"} <= await one.errors()
    one.memory.answers.set()
    await one.recovers(judge)


@cocotb.test()
async def a_damaged_image_is_refused(dut):
    one, judge = await bench(dut)
    if one.memory is not None:
        content = bytearray(one.memory.content)
        content[len(content) // 2] ^= 4
        one.memory.content = bytes(content)
    else:
        await one.write("image_address", 9)
        await one.write("image_data", *[5] * CONFIG.image_loader.words)
    await one.begin(Start(prompt=(4,), generate=2))
    await one.idle()
    assert await one.errors() == {"image_header"}
    if one.memory is not None:
        one.memory.content = memory_content(CONFIG.axi_port, IMAGE.content)
    else:
        await one.load()
    await one.recovers(judge)
