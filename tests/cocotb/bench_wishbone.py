# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of the control port over Wishbone, with a master that is not ours."""

import json
import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.wishbone.driver import WBOp, WishboneMaster

from golden_model.registers import REGISTERS, register
from tests.cocotb.axi_toy import control_config

seed = int(os.environ["SEED"])
pipelined = json.loads(os.environ["CONFIG"])["bus"] == "wishbone_pipelined"
CONSTANTS = control_config("wishbone").registers.constants
SIGNALS = {"cyc": "cyc", "stb": "stb", "we": "we", "adr": "adr", "datwr": "dat_w",
           "datrd": "dat_r", "ack": "ack", "sel": "sel", "err": "err"}
ACK, ERR = 1, 2


class Bench:
    """The device and a host."""

    def __init__(self, dut):
        self.dut = dut
        self.random = random.Random(seed)

    async def reset(self):
        Clock(self.dut.clk, 10, unit="ns").start()
        self.dut.rst.value = 1
        for name in ("arready", "rvalid", "rdata", "rid", "rresp", "rlast"):
            getattr(self.dut, f"m_axi__{name}").value = 0
        for name in ("cyc", "stb", "we", "adr", "dat_w"):
            getattr(self.dut, f"wb__{name}").value = 0
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        # It takes a bus without `stall` for a classic one.  Made at time 0 it would set signals in
        # a way that keeps Icarus from ever looking at them again.
        signals = {**SIGNALS, "stall": "stall"} if pipelined else SIGNALS
        WishboneMaster._optional_signals = []
        self.master = WishboneMaster(self.dut, "wb_", self.dut.clk, timeout=100,
                                     signals_dict=signals)

    async def cycle(self, *operations):
        """One bus cycle; returns data and answer of each operation."""
        results = await self.master.send_cycle([
            WBOp(adr=offset >> 2, dat=word, sel=sel, idle=self.random.randrange(3), acktimeout=50)
            for offset, word, sel in operations])
        return [(int(one.datrd), one.ack) for one in results]

    async def read(self, offset):
        return (await self.cycle((offset, None, 0xF)))[0]

    async def write(self, offset, word, sel=0xF):
        return (await self.cycle((offset, word, sel)))[0][1]


async def bench(dut):
    made = Bench(dut)
    await made.reset()
    return made


@cocotb.test(timeout_time=500, timeout_unit="us")
async def every_register_has_its_access(dut):
    one = await bench(dut)
    for entry in REGISTERS:
        word, answer = await one.read(entry.offset)
        assert answer == ACK
        if entry.kind == "constant":
            assert word == CONSTANTS[entry.name]
        wanted = ERR if entry.access == "ro" else ACK
        if entry.name != "control":
            assert await one.write(entry.offset, 0xFFFF_FFFF) == wanted, entry.name
        if entry.kind in ("setting", "sticky"):
            assert await one.read(entry.offset) \
                == (entry.mask if entry.kind == "setting" else 0, ACK), entry.name
    assert (await one.read(0x0FC))[1] == ERR
    assert await one.write(0xFFC, 0) == ERR


@cocotb.test(timeout_time=500, timeout_unit="us")
async def bytes_are_written_alone(dut):
    one = await bench(dut)
    seed_register = register("seed").offset
    await one.write(seed_register, 0x11223344)
    await one.write(seed_register, 0xAABBCCDD, 0b0101)
    assert await one.read(seed_register) == (0x11BB33DD, ACK)


@cocotb.test(timeout_time=500, timeout_unit="us")
async def several_accesses_go_in_one_bus_cycle(dut):
    one = await bench(dut)
    token = register("prompt_token").offset
    answers = await one.cycle(*((token, number, 0xF) for number in range(4)),
                              (register("levels").offset, None, 0xF),
                              (register("id").offset, None, 0xF))
    assert [answer for _, answer in answers] == 6 * [ACK]
    assert answers[4][0] & 0xFFFF == 0
    assert answers[5][0] == CONSTANTS["id"]
