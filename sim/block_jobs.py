# SPDX-License-Identifier: Apache-2.0
"""Runs a decoder block's products: the array, the masked product, the feed-forward block."""

import dataclasses
import json
import pickle
import tempfile
from pathlib import Path

from hw.ffn.gated_ffn import GatedFfn
from hw.mac.ternary_array import TernaryArray
from sim.array_jobs import JobResult
from sim.masked_jobs import MaskedLinearWithUnit
from sim.runner import run_bench
from sim.side_by_side import SideBySide

__all__ = ["BlockJobs", "BlockResults", "UnitResult", "run_block"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockJobs:
    """What each unit is to do, back to back, with the configuration of each."""

    array: list
    """Of `sim.array_jobs.Job`."""
    wo: list
    """Of `sim.masked_jobs.MaskedJob`."""
    ffn: list
    """Of `sim.ffn_jobs.FfnJob`."""
    configs: tuple
    """Of array, masked product and feed-forward block."""
    latency: int
    """Cycles from a request of a row or column to its first beat."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitResult:
    """What the simulation gave for all jobs of a unit; cycles count from the end of reset."""

    sums: list[int]
    """Sums of all jobs, those included that fill up a beat."""
    scales: list[dict[str, int]]
    """Scale of each job, as the fields of a small float."""
    requests: dict[str, list[int]]
    """Rows or columns that were fetched, by stream."""
    cycles: dict[str, list[int]]
    """Cycle of every transfer, by stream."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockResults:
    """What each unit gave."""

    array: list[JobResult]
    wo: UnitResult
    ffn: UnitResult


def run_block(jobs, *, simulator="verilator", report=lambda text: None):
    """Run the jobs of the units, one unit after the other, in one simulation; every value checked.

    `report` is told the stage, and how far it is.
    """
    array, wo, ffn = jobs.configs
    units = SideBySide(array=TernaryArray(array), wo=MaskedLinearWithUnit(wo), ffn=GatedFfn(ffn))
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "jobs.pickle", Path(directory) / "results.json"
        source.write_bytes(pickle.dumps(jobs))  # of this process, for its own child
        run_bench(units, "sim.bench_block", simulator=simulator, report=report,
                  parameters={"jobs": str(source), "results": str(target)})
        results = json.loads(target.read_text(encoding="utf-8"))
    return BlockResults(array=[JobResult(**result) for result in results["array"]],
                        wo=UnitResult(**results["wo"]), ffn=UnitResult(**results["ffn"]))
