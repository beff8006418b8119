# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the whole bus side over AXI4-Lite and AXI4, faults of the memory included."""

import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, Event, RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiReadBus, AxiResp, AxiSlaveRead

from golden_model.registers import REGISTERS, register
from tests.cocotb.axi_toy import MEMORY, STRIDE, control_config, fold

seed = int(os.environ["SEED"])
CONSTANTS = control_config("axi_lite").registers.constants
ACCESS_MICROSECONDS = 50
"""No access to a register ever takes longer, whatever state the memory is in."""


class Memory:
    """Beats that are functions of their address; errors in a range, or no answer at all."""

    def __init__(self):
        self.bad = range(0)
        self.answers = Event()
        self.answers.set()

    async def read(self, address, length):
        await self.answers.wait()
        if address in self.bad:
            raise ValueError("injected")
        return self.word(address).to_bytes(length, "little")

    @staticmethod
    def word(address):
        return random.Random(address).getrandbits(MEMORY.data_bits)


def pauses(number, rate):
    """Cycles in which a channel is stalled."""
    rng = random.Random(seed + number)
    while True:
        yield rng.random() < rate


class Bench:
    """The device with a host on its control bus and a memory on its read port."""

    def __init__(self, dut, rate):
        self.dut = dut
        self.memory = Memory()
        self.host = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_"), dut.clk, dut.rst)
        self.slave = AxiSlaveRead(AxiReadBus.from_prefix(dut, "m_axi_"), dut.clk, dut.rst,
                                  target=self.memory)
        # A memory that does not answer still takes every address.
        self.slave.ar_channel.queue_occupancy_limit = 2 * MEMORY.outstanding
        for part in (self.host.write_if, self.host.read_if, self.slave):
            part.log.setLevel("WARNING")
        channels = [self.host.write_if.aw_channel, self.host.write_if.w_channel,
                    self.host.write_if.b_channel, self.host.read_if.ar_channel,
                    self.host.read_if.r_channel, self.slave.ar_channel, self.slave.r_channel]
        for number, channel in enumerate(channels):
            if rate:
                channel.set_pause_generator(pauses(number, rate))

    async def reset(self):
        Clock(self.dut.clk, 10, unit="ns").start()
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)

    async def access(self, operation):
        return await with_timeout(cocotb.start_soon(operation), ACCESS_MICROSECONDS, "us")

    async def raw_read(self, offset):
        answer = await self.access(self.host.read(offset, 4))
        return int.from_bytes(answer.data, "little"), answer.resp

    async def raw_write(self, offset, word):
        return (await self.access(self.host.write(offset, word.to_bytes(4, "little")))).resp

    async def read(self, name):
        word, response = await self.raw_read(register(name).offset)
        assert response == AxiResp.OKAY
        return {field.name: (word & field.mask) >> field.low for field in register(name).fields}

    async def write(self, name, word):
        assert await self.raw_write(register(name).offset, word) == AxiResp.OKAY

    async def start(self, base, beats, tokens):
        await self.write("image_base_low", base)
        await self.write("prompt_count", beats)
        await self.write("generate_count", tokens)
        await self.write("control", 1)

    async def tokens(self, base, beats, count):
        """Take tokens, and compare each with what the memory holds."""
        for number in range(count):
            for _ in range(400):
                got = await self.read("generated_token")
                if got["valid"]:
                    break
            place = base + number * STRIDE
            wanted = fold(Memory.word(place + 8 * n) for n in range(beats))
            assert got == {"token": wanted, "last": int(number == count - 1), "valid": 1}

    async def errors(self):
        found = await self.read("errors")
        return {name for name, value in found.items() if value}

    async def settle(self):
        """Wait until a soft reset is over."""
        for _ in range(400):
            if not (await self.read("status"))["draining"]:
                return
        raise AssertionError("draining does not end")

    async def runs_again(self, base):
        """After a fault: clear it, and the next start is as good as the first."""
        await self.write("errors", 0xFFFF_FFFF)
        assert await self.errors() == set()
        await self.start(base, 20, 3)
        await self.tokens(base, 20, 3)
        assert await self.errors() <= {"generated_underflow"}


async def bench(dut, rate=0.3):
    made = Bench(dut, rate)
    await made.reset()
    return made


@cocotb.test()
async def every_register_has_its_access(dut):
    """Constants and resets are the table's; writes reach what they may and nothing else."""
    one = await bench(dut)
    for entry in REGISTERS:
        word, response = await one.raw_read(entry.offset)
        assert response == AxiResp.OKAY
        if entry.kind == "constant":
            assert word == CONSTANTS[entry.name]
        elif entry.kind in ("setting", "sticky"):
            assert word == entry.reset | (0 if entry.name != "errors" else word)
        wanted = AxiResp.SLVERR if entry.access == "ro" else AxiResp.OKAY
        if entry.name != "control":
            assert await one.raw_write(entry.offset, 0xFFFF_FFFF) == wanted, entry.name
        if entry.kind in ("setting", "sticky"):
            assert await one.raw_read(entry.offset) \
                == (entry.mask if entry.kind == "setting" else 0, AxiResp.OKAY), entry.name
    assert (await one.raw_read(0x0FC))[1] == AxiResp.SLVERR
    assert await one.raw_write(0xFFC, 0) == AxiResp.SLVERR


@cocotb.test()
async def tokens_come_under_random_stalls(dut):
    one = await bench(dut, 0.4)
    await one.start(0x1FF8, 50, 6)
    await one.tokens(0x1FF8, 50, 6)
    # Asking too early is noted, and harmless.
    assert await one.errors() <= {"generated_underflow"}
    assert (await one.read("status"))["idle"]
    assert await one.read("count_tokens") == {"value": 6}
    assert await one.read("count_weight_beats") == {"value": 300}
    assert (await one.read("irq_status"))["done"]


@cocotb.test()
async def an_error_response_is_sticky_and_hangs_nothing(dut):
    one = await bench(dut)
    base = 0x4000
    one.memory.bad = range(base + 88, base + 96)
    await one.write("irq_enable", 2)
    await one.start(base, 50, 2)
    for _ in range(400):
        got = await one.read("generated_token")
        if got["last"]:
            break
    assert got["last"]
    assert "bus_slave" in await one.errors()
    assert dut.irq.value == 1
    # The burst that failed starts at a multiple of its length.
    assert await one.read("error_address_low") == {"value": base + 64}
    one.memory.bad = range(0)
    await one.runs_again(0x8000)


@cocotb.test()
async def a_soft_reset_in_mid_burst_leaves_nothing_stale(dut):
    one = await bench(dut)
    rng = random.Random(seed)
    for number in range(12):
        base = 0x10000 * (number + 1)
        await one.start(base, 60, 4)
        await ClockCycles(dut.clk, rng.randrange(60))
        await one.write("control", 4)
        await one.settle()
        assert await one.read("levels") == {"prompt_space": 4, "generated": 0}
    await one.runs_again(0x2008)


@cocotb.test()
async def a_memory_that_never_answers_trips_the_watchdog(dut):
    """Give up what was asked for; answers that come after all meet nobody."""
    one = await bench(dut)
    await one.write("watchdog_limit", 200)
    one.memory.answers.clear()
    await one.start(0x3000, 60, 4)
    await ClockCycles(dut.clk, 100)
    assert not (await one.read("status"))["idle"]
    await ClockCycles(dut.clk, 300)
    assert "watchdog" in await one.errors()
    await ClockCycles(dut.clk, 400)
    await one.settle()
    assert "bus_lost" in await one.errors()
    assert (await one.read("status"))["idle"]
    one.memory.answers.set()
    await one.runs_again(0x9000)


@cocotb.test()
async def a_memory_that_takes_no_address_is_waited_for(dut):
    """Keep the address on offer, answer the host meanwhile, and go on once it is taken."""
    one = await bench(dut)
    await one.write("watchdog_limit", 100)
    one.slave.ar_channel.clear_pause_generator()
    one.slave.ar_channel.pause = True
    await one.start(0x3000, 60, 4)
    await ClockCycles(dut.clk, 800)
    assert {"watchdog", "bus_lost"} <= await one.errors()
    assert (await one.read("status"))["draining"]
    one.slave.ar_channel.pause = False
    await one.settle()
    await one.runs_again(0x9000)
