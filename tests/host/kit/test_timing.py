# SPDX-License-Identifier: Apache-2.0
"""Waves of the README against the hardware, signal by signal and cycle by cycle."""

import pytest
from amaranth.sim import Simulator

from golden_model.bus_config import AxiReadConfig, ControlConfig, RegisterFileConfig
from golden_model.presets import PRESETS
from host.kit.timing import array_waves, control_waves, read_waves, stream_waves
from hw.bus.axi_read import AxiRead
from hw.bus.control import Control
from hw.mac.ternary_array import TernaryArray


def replay(dut, signals, waves):
    """Drive what is an input as drawn; compare the rest where anything is drawn."""
    async def bench(ctx):
        for cycle in range(len(next(iter(waves.values())))):
            for name, (signal, driven, decode) in signals.items():
                if driven:
                    ctx.set(signal, decode(waves[name][cycle]))
            for name, (signal, driven, decode) in signals.items():
                if not driven and waves[name][cycle] is not None:
                    assert ctx.get(signal) == decode(waves[name][cycle]), (name, cycle)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def word(value):
    return int(value or "0", 16)


def level(value):
    return int(bool(value))


def response(value):
    return {"OKAY": 0, "ERR": 2}[value]


@pytest.mark.parametrize("bus", ["axi_lite", "wishbone", "wishbone_pipelined"])
@pytest.mark.parametrize("kind", ["write", "read"])
def test_the_control_port(bus, kind):
    config = ControlConfig(bus=bus, registers=RegisterFileConfig(prompt_depth=2))
    waves, dut = control_waves(config)[kind], Control(config)
    if bus == "axi_lite":
        port, driven, texts = dut.s_axi, ("awvalid", "awaddr", "wvalid", "wdata", "bready",
                                          "arvalid", "araddr", "rready"), {"bresp": response}
    else:
        port, driven, texts = dut.wb, ("cyc", "stb", "we", "adr", "dat_w"), {}
    numbers = ("awaddr", "wdata", "araddr", "rdata", "adr", "dat_w", "dat_r")
    signals = {name: (getattr(port, name), name in driven,
                      word if name in numbers else texts.get(name, level)) for name in waves}
    strobes = getattr(port, "wstrb", None) if bus == "axi_lite" else port.sel
    signals["strobes"] = strobes, True, lambda value: 15
    replay(dut, signals, {**waves, "strobes": [None] * len(waves[next(iter(waves))])})


@pytest.mark.parametrize("preset", ["tiny", "icebreaker"])
def test_the_array(preset):
    config = PRESETS[preset].array
    waves, dut = array_waves(config), TernaryArray(config)
    signals = {}
    for name in waves:
        stream, _, member = name.partition(".")
        if member != "payload":
            driven = stream != "o" and member == "valid"
            signals[name] = getattr(getattr(dut, stream), member), driven, level
    signals["command"] = dut.i_cmd.payload, True, lambda value: {
        "blocks": 1, "tiles": 2, "digits": 1, "reuse": 0}
    signals["taken"] = dut.o.ready, True, lambda value: 1
    cycles = len(waves["o.valid"])
    replay(dut, signals, {**waves, "command": [None] * cycles, "taken": [None] * cycles})
    assert waves["o.valid"] == [False] * (cycles - 1) + [True]


def test_the_read_port():
    config = AxiReadConfig(data_bits=64)
    waves, dut = read_waves(config), AxiRead(config)
    bus, cycles = dut.m_axi, len(waves["arvalid"])

    async def bench(ctx):
        ctx.set(dut.i.payload, {"address": 0, "beats": 4})
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.o.ready, 1)
        while not ctx.get(bus.arvalid):
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
        assert not waves["arvalid"][0]
        for cycle in range(1, cycles):
            ctx.set(bus.arready, 1)
            ctx.set(bus.rvalid, level(waves["rvalid"][cycle]))
            ctx.set(bus.rlast, level(waves["rlast"][cycle]))
            assert ctx.get(bus.arvalid) == waves["arvalid"][cycle]
            if waves["arlen"][cycle] is not None:
                assert ctx.get(bus.arlen) == int(waves["arlen"][cycle])
            assert ctx.get(bus.rready) == waves["rready"][cycle]
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def test_the_stream_rule_is_drawn_right():
    waves = stream_waves()
    assert waves["transfer"] == [a and b for a, b in zip(waves["valid"], waves["ready"])]
    for n in range(1, len(waves["valid"])):
        if waves["valid"][n - 1] and not waves["transfer"][n - 1]:
            assert (waves["valid"][n], waves["payload"][n]) == (True, waves["payload"][n - 1])
