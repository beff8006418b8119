# SPDX-License-Identifier: Apache-2.0
import dataclasses
from functools import cache

import pytest
from amaranth import C

from golden_model.config import ArrayConfig
from golden_model.ffn.ffn_cycles import FfnCycles
from golden_model.ffn_config import GatedFfnConfig
from golden_model.quant_config import SmallFloatUnitConfig
from hw.ffn import gated_ffn as unit
from hw.ffn.gated_ffn import GatedFfn
from hw.quant.code_encoder import Format
from sim.ffn_jobs import FfnJob, ffn_cycles
from sim.simulator import Device
from tests.hw.ffn.jobs import vectors
from tests.hw.ffn.lockstep import Memory, Sink, Source, lockstep, small

CONFIGS = [
    GatedFfnConfig(array=ArrayConfig(rows=2, lanes=4, max_k=11, max_m=30), lanes=2, max_ffn=21,
                   up_width=6, down_width=4, in_flight=3, pending=4, form="dsp"),
    GatedFfnConfig(array=ArrayConfig(rows=4, lanes=8, max_k=16, max_m=26, packing="2bit"),
                   max_ffn=26, up_width=8, down_width=5, form="dsp")]
LATENCY = 5


@cache
def device(config):
    return Device(GatedFfn(config))


def run(config, jobs, stall=0.0, dut=None):
    """Check sums and scales; return the cycles of every stream."""
    dut = dut or device(config)
    seeds = iter(range(100, 200))
    feeds = {"i_command": [job.command for job in jobs],
             "i": [beat for job in jobs for beat in job.activations],
             "i_scale": [small(job.vector.scale) for job in jobs],
             "i_gate_weights": [beat for job in jobs for beat in job.gate_weights],
             "i_gain": [beat for job in jobs for beat in job.gains]}
    streams = {name: Source(getattr(dut, name), payloads, stall, next(seeds))
               for name, payloads in feeds.items()}
    sinks = {name: Sink(getattr(dut, name), stall, next(seeds))
             for name in ("o_up_request", "o_down_request", "o", "o_scale")}
    for name in ("up", "down"):
        bursts = [burst for job in jobs for burst in getattr(job, f"{name}_bursts")]
        port = f"i_{name}_weights"
        streams[port] = Memory(getattr(dut, port), sinks[f"o_{name}_request"], bursts, LATENCY,
                               stall, next(seeds))
    wanted = [beat for job in jobs for beat in job.sums]
    lockstep(dut, [*streams.values(), *sinks.values()],
             lambda: len(streams["i_command"].cycles) == len(jobs))
    assert [(list(beat.sums), beat.last) for beat in sinks["o"].payloads] == wanted
    assert [{"m": s.m, "e": s.e} for s in sinks["o_scale"].payloads] == [
        small(job.result.scale) for job in jobs]
    assert sinks["o_up_request"].payloads == [int(row) for job in jobs for row in job.result.rows]
    assert sinks["o_down_request"].payloads == [column for job in jobs for column in job.columns]
    return {name: stream.cycles for name, stream in (streams | sinks).items()}


def predicted(config, jobs):
    """Cycles of every stream at full rate."""
    parts = ffn_cycles(config, jobs, LATENCY)
    return {name: [cycle for part in parts for cycle in part[name]] for name in parts[0]}


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_values_under_stalls(config):
    run(config, [FfnJob(config, vector) for vector in vectors(config)][::3], stall=0.4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_values_and_cycles_match_golden_model(config):
    jobs = [FfnJob(config, vector) for vector in vectors(config)][::CONFIGS.index(config) + 1]
    cycles = run(config, jobs)
    del cycles["i_scale"]
    assert cycles == predicted(config, jobs)


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    config = CONFIGS[0]
    job = FfnJob(config, next(vectors(config)))
    cycles = FfnCycles(config, SmallFloatUnitConfig(), LATENCY).run(job.vector)
    assert cycles.activations == [0, 1, 2, 3, 4, 5]
    assert cycles.gate_weights == [0, *range(7, 39)]
    assert cycles.gates == list(range(12, 43, 3))
    # Up rows while gates come; their products wait for the scale: four multiplications.  Five sums
    # wait for them, one ahead of the full queue.
    assert cycles.up_requests == [17, 20, 21, 25, 29, 32, 33, 37, 40, 42, 49, 51]
    assert cycles.words == [*range(101, 112), *range(160, 171)]
    # Columns while codes come.  The norm's scale is last.
    assert cycles.down_requests == [174, 175, 177, 178, 183, 186, 189, 192]
    assert cycles.down_weights == list(range(179, 203))
    assert cycles.sums == [203, 204, 205]
    assert (cycles.scale, cycles.command) == (409, 409)


class Greedy(GatedFfn):
    """Takes the next vector's activations while it works on this one."""

    def activations(self, m, array, gate_up, enable):
        super().activations(m, array, gate_up, C(1, 1))


class Wrong:
    """Codes of another format."""

    INT8 = Format.INT4


def test_a_planted_bug_of_values_is_noticed(monkeypatch):
    config = CONFIGS[0]
    jobs = [FfnJob(config, next(vectors(config)))]
    monkeypatch.setattr(unit, "Format", Wrong)
    with pytest.raises((AssertionError, TimeoutError)):
        run(config, jobs, dut=GatedFfn(config))


def test_a_planted_bug_of_cycles_is_noticed():
    config = CONFIGS[0]
    jobs = [FfnJob(config, vector) for vector in vectors(config)][1:3]
    cycles = run(config, jobs, dut=Greedy(config))
    assert cycles["i"] != predicted(config, jobs)["i"]


@pytest.mark.parametrize(("wrong", "message"), [
    ({"max_ffn": 31}, "max_ffn must be at most array.max_m \\(30\\), not 31"),
    ({"up_width": 7}, "width must be a multiple of lanes \\(2\\), not 7"),
    ({"lanes": 3}, "width must be a multiple of lanes \\(3\\), not 4|lanes must be one of"),
    ({"pending": 1}, "pending must be an integer of at least 2, not 1")])
def test_config_refuses(wrong, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIGS[0], **wrong)
