# SPDX-License-Identifier: Apache-2.0
from dataclasses import asdict

from golden_model.vector_config import Relu2GluConfig, RopeConfig
from hw.emit import emit_verilog
from hw.ffn.gate_peak import GatePeak
from hw.vector.rope import Rope
from sim.side_by_side import SideBySide
from sim.simulator import Recorder, simulate, source

GATES, TURNS = Relu2GluConfig(lanes=2), RopeConfig(form="dsp")


def units():
    return SideBySide(peak=GatePeak(GATES), rope=Rope(TURNS))


def test_every_unit_keeps_its_ports_and_its_configuration():
    assert sorted(units().signature.members) == ["peak_i", "peak_o", "rope_i", "rope_o"]
    assert asdict(units().config) == {"peak": asdict(GATES), "rope": asdict(TURNS)}


def test_units_work_as_they_do_alone():
    dut = units()
    beats = [{"gate": [3, -1], "peak_bits": 18, "last": 0}, {"gate": [0, 9], "peak_bits": 18,
                                                             "last": 1}]
    alone, one, other, taken = GatePeak(GATES), Recorder(dut.peak_o, 2), Recorder(dut.rope_o, 1), []
    turn = {"a": [1 << 10], "b": [7], "cos": [1 << 14], "sin": [0]}
    simulate(dut, source(dut.peak_i, beats), source(dut.rope_i, [turn]), one.run, other.run)
    sink = Recorder(alone.o, 2)
    simulate(alone, source(alone.i, beats, cycles=taken), sink.run)
    assert (one.payloads, one.cycles) == (sink.payloads, sink.cycles)
    assert (list(other.payloads[0].a), other.cycles) == ([1 << 16], [TURNS.latency])


def test_ports_are_flat():
    text = emit_verilog(units(), "part")
    assert all(f"{unit}_{stream}__payload" in text for unit in ("peak", "rope") for stream in "io")
