# SPDX-License-Identifier: Apache-2.0
"""cocotb bench of a decoder block's units: jobs from a file, results and cycles to another.

Every value is compared with the golden model, and every handshake of the array with its cycle
model; `sim.block_jobs.run_block` is the way to run it.
"""

import json
import os
import pickle
from pathlib import Path

import cocotb
from amaranth.lib.wiring import In
from cocotb.clock import Clock

from hw.ffn.gated_ffn import GatedFfn
from hw.mac.ternary_array import TernaryArray
from hw.quant.scale_lanes import SMALL_FLOAT
from sim.bench_array import run_array_jobs
from sim.bench_ffn import run_ffn
from sim.bench_masked import run_masked
from sim.masked_jobs import MaskedLinearWithUnit
from sim.packing import fields


def hold(dut, unit, prefix):
    """Offer nothing to a unit, and take nothing: its inputs must not be undefined meanwhile."""
    for name, member in unit.signature.members.items():
        wire = "valid" if member.flow == In else "ready"
        getattr(dut, f"{prefix}_{name}__{wire}").value = 0


def result(unit, streams):
    """Return what a `sim.block_jobs.UnitResult` holds."""
    beats = [fields(unit.o.payload.shape(), payload) for payload in streams["o"].payloads]
    scales = [fields(SMALL_FLOAT, payload) for payload in streams["o_scale"].payloads]
    return {"sums": [total for beat in beats for total in beat.sums],
            "scales": [{"m": scale.m, "e": scale.e} for scale in scales],
            "requests": {name: stream.payloads for name, stream in streams.items()
                         if name.endswith("request")},
            "cycles": {name: stream.cycles for name, stream in streams.items()}}


@cocotb.test()
async def jobs_match_the_golden_model(dut):
    """Run the jobs of each unit; write the results."""
    parameters = json.loads(os.environ["PARAMETERS"])
    jobs = pickle.loads(Path(parameters["jobs"]).read_bytes())
    array_config, wo_config, ffn_config = jobs.configs
    array, wo, ffn = (TernaryArray(array_config), MaskedLinearWithUnit(wo_config),
                      GatedFfn(ffn_config))
    for prefix, unit in (("array", array), ("wo", wo), ("ffn", ffn)):
        hold(dut, unit, prefix)
    Clock(dut.clk, 10, unit="ns").start()
    results = {"array": await run_array_jobs(dut, array_config, jobs.array, prefix="array_")}
    results["wo"] = result(wo, await run_masked(dut, wo_config, jobs.wo, jobs.latency,
                                                prefix="wo_"))
    results["ffn"] = result(ffn, await run_ffn(dut, ffn_config, jobs.ffn, jobs.latency,
                                               prefix="ffn_"))
    Path(parameters["results"]).write_text(json.dumps(results), encoding="utf-8")
