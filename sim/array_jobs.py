# SPDX-License-Identifier: Apache-2.0
"""Runs matrices through the simulated ternary array: jobs in, results with their cycles out."""

import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np

from hw.mac.ternary_array import TernaryArray
from sim.runner import run_bench

__all__ = ["Job", "JobResult", "load_jobs", "run_array", "save_jobs"]


@dataclasses.dataclass(frozen=True)
class Job:
    """One command with its operands."""

    trits: np.ndarray
    """Weights [M, K] in {-1, 0, 1}."""
    codes: np.ndarray
    """Activations [K], or [tokens, K] of a batch; with `reuse` those of the job before."""
    digits: int = 1
    reuse: bool = False


@dataclasses.dataclass(frozen=True)
class JobResult:
    """What the simulation gave for one job; cycles count from the end of reset."""

    sums: list
    """Results [M], or [tokens][M] for activations [tokens, K]."""
    first_beat: int
    """Cycle of the first multiplication."""
    last_beat: int
    """Cycle of the last multiplication."""
    busy: int
    """Cycles from the first to the last multiplication in which weights were multiplied."""
    outputs: list[int]
    """Cycle in which each row block's results, of each token, were taken."""
    predicted: list[int]
    """The same from the cycle model."""


def save_jobs(path, jobs):
    """Write jobs to an ``.npz``; matrices that are the same object are stored once."""
    matrices, table = {}, []
    for job in jobs:
        place, _ = matrices.setdefault(id(job.trits), (len(matrices), job.trits))
        table.append((place, job.digits, int(job.reuse)))
    arrays = {f"trits_{place}": np.asarray(trits, np.int8) for place, trits in matrices.values()}
    arrays |= {f"codes_{n}": np.asarray(job.codes, np.int16) for n, job in enumerate(jobs)}
    np.savez(path, table=np.array(table, np.int32).reshape(-1, 3), **arrays)


def load_jobs(path):
    """Undo `save_jobs`."""
    with np.load(path, allow_pickle=False) as file:
        table = file["table"].tolist()
        matrices = {place: file[f"trits_{place}"] for place in {place for place, *_ in table}}
        return [Job(matrices[place], file[f"codes_{n}"], digits, bool(reuse))
                for n, (place, digits, reuse) in enumerate(table)]


def run_array(config, jobs, *, simulator="verilator", stalls=None, seed=None, waves=None,
              echo=False, optimise=False, report=lambda text: None):
    """Run jobs back to back through a `TernaryArray`; every value and handshake is checked.

    Parameters
    ----------
    stalls
        Share of stalled cycles by stream name, such as ``{"o": 0.5}``.
    echo
        Show the bench's progress as it comes.
    optimise, report
        See `sim.runner.run_bench`.

    Returns
    -------
    tuple
        A `JobResult` for each job, and the `sim.runner.Simulation`.
    """
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory) / "jobs.npz", Path(directory) / "results.json"
        save_jobs(source, jobs)
        simulation = run_bench(
            TernaryArray(config), "sim.bench_array", simulator=simulator, seed=seed, waves=waves,
            echo=echo, optimise=optimise, report=report,
            parameters={"jobs": str(source), "results": str(target),
                        "stalls": stalls or {}})
        results = json.loads(target.read_text(encoding="utf-8"))
    return [JobResult(**result) for result in results], simulation
