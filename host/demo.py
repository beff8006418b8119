# SPDX-License-Identifier: Apache-2.0
"""Linear layers of a trained model through the simulated array, against the golden model.

The exact decoder runs on held-out text and captures what enters and leaves each projection.  The
same codes and weights then go through the RTL, back to back; sums must equal what the decoder
computed, and every cycle what the cycle model predicted ahead of the run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import ArrayConfig
from golden_model.decoder import Capture
from golden_model.exact import ExactDecoder
from golden_model.mac.ternary_array import ArrayCycles, command_for
from golden_model.weights import DecoderWeights
from host.errors import CheckFailedError, UserError
from host.model_file import ModelFileError, load_model
from sim.array_jobs import Job, JobResult, run_array
from sim.runner import SimulationFailed

__all__ = ["HELD_OUT", "MODEL", "LayerRun", "LayerRow", "layer_runs", "load_tokens", "predict",
           "read_model", "run_layers", "summarize"]

MODEL = Path(__file__).parents[1] / "models" / "demo" / "model.safetensors"
HELD_OUT = MODEL.with_name("heldout.safetensors")

CONTEXT = 32
"""Held-out tokens that the decoder reads ahead of the first one that is simulated."""
IDLE_LIMIT = 100_000
"""Cycles after which the cycle model counts as hung."""

# Order of one token's products, and which of them find their activations in the array already.
_PROJECTIONS = (("wq", False), ("wk", True), ("wv", True), ("wo", False), ("gate", False),
                ("up", True), ("down", False))
_TWO_DIGITS = ("wo", "down")  # INT8 inputs are two digits


@dataclass(frozen=True, eq=False)
class LayerRun:
    """One product of one token: the job for the array and what must come out."""

    name: str
    """Such as ``layers.0.wq``."""
    job: Job
    sums: NDArray[np.int64]
    """Results [M] of the exact decoder."""


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """What all tokens' products of one matrix took."""

    layer: str
    m: int
    k: int
    digits: int
    tokens: int
    cycles: int
    """Measured in the RTL: from the last result of the product before to this one's last."""
    predicted: int
    """The same from the cycle model."""
    busy: int
    """Cycles in which the array multiplied."""
    equal: bool
    """Every sum equals the exact decoder's."""

    @property
    def utilisation(self) -> float:
        """Share of the cycles in which the array multiplied."""
        return self.busy / self.cycles

    @property
    def passed(self) -> bool:
        """Values and cycles are as predicted."""
        return self.equal and self.cycles == self.predicted


def read_model(path: Path) -> DecoderWeights:
    """Load a packed model; :class:`~host.errors.UserError` says what is wrong with it."""
    try:
        return load_model(path)
    except ModelFileError as error:
        raise UserError(str(error)) from error


def load_tokens(path: Path, count: int) -> NDArray[np.int64]:
    """First `count` tokens of the first held-out window [count]."""
    try:
        windows = load_file(path)["tokens"]
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(f"{path}: cannot be read as held-out tokens: {error}") from error
    if windows.ndim != 2 or windows.size == 0 or windows.dtype.kind not in "iu":
        raise UserError(f"{path}: tokens must be integers [windows, length], not "
                        f"{windows.dtype}{list(windows.shape)}")
    if count > windows.shape[1]:
        raise UserError(f"--tokens asks for {count} tokens with their context, a held-out window "
                        f"has {windows.shape[1]}")
    return windows[0, :count].astype(np.int64)


def layer_runs(weights: DecoderWeights, tokens: NDArray[np.int64], blocks: int,
               count: int) -> list[LayerRun]:
    """Products of the last `count` tokens in the first `blocks` decoder blocks, token by token."""
    if not 1 <= blocks <= weights.shape.layers:
        raise UserError(f"--blocks must lie in 1..{weights.shape.layers} for this model, not "
                        f"{blocks}")
    capture: Capture = {}
    ExactDecoder(weights).forward(tokens, capture)
    runs = []
    for t in range(len(tokens) - count, len(tokens)):
        for i in range(blocks):
            for part, reuse in _PROJECTIONS:
                name = f"layers.{i}.{part}"
                trace = capture[name]
                job = Job(trits=weights.layers[i].matrices[part].trits, codes=trace.codes[t],
                          digits=2 if part in _TWO_DIGITS else 1, reuse=reuse)
                runs.append(LayerRun(name, job, trace.sums[t]))
    return runs


def predict(config: ArrayConfig, runs: Sequence[LayerRun]) -> list[int]:
    """Cycle, from 0, in which each product's last result leaves if nobody stalls."""
    model = ArrayCycles(config)
    commands = []
    for run in runs:
        m, k = run.job.trits.shape
        commands.append(command_for(config, m, k, run.job.digits, run.job.reuse))
    words = sum(c.tiles * c.digits for c in commands if not c.reuse)
    beats = sum(c.blocks * c.tiles for c in commands)
    ends: list[int] = []
    issued = cycle = 0
    while len(ends) < len(runs):
        command = commands[issued] if issued < len(commands) else None
        answers = model.step(command, words > 0, beats > 0, True)
        issued += command is not None and answers.cmd_ready
        words -= words > 0 and answers.x_ready
        beats -= beats > 0 and answers.w_ready
        if answers.o_valid and answers.o_last:
            ends.append(cycle)
        cycle += 1
        if cycle - (ends[-1] if ends else 0) > IDLE_LIMIT:
            raise CheckFailedError(f"the cycle model hangs after {len(ends)} products")
    return ends


def summarize(runs: Sequence[LayerRun], results: Sequence[JobResult],
              predicted: Sequence[int]) -> list[LayerRow]:
    """One row for each matrix, in the order in which they run."""
    rows: dict[str, LayerRow] = {}
    measured_before = predicted_before = -1
    for run, result, end in zip(runs, results, predicted, strict=True):
        m, k = run.job.trits.shape
        row = rows.get(run.name) or LayerRow(
            layer=run.name, m=m, k=k, digits=run.job.digits, tokens=0, cycles=0, predicted=0,
            busy=0, equal=True)
        rows[run.name] = LayerRow(
            layer=run.name, m=m, k=k, digits=row.digits, tokens=row.tokens + 1,
            cycles=row.cycles + result.outputs[-1] - measured_before,
            predicted=row.predicted + end - predicted_before,
            busy=row.busy + result.busy,
            equal=row.equal and result.sums == run.sums.tolist())
        measured_before, predicted_before = result.outputs[-1], end
    return list(rows.values())


def run_layers(config: AcceleratorConfig, runs: Sequence[LayerRun], simulator: str,
               progress: Callable[[str], None]) -> list[LayerRow]:
    """Send products through the RTL of `config` and compare values and cycles.

    `progress` is told each stage in a few words.

    Raises
    ------
    CheckFailedError
        The simulation ended early: the bench found a difference or could not be built.
    UserError
        A matrix is larger than the array was configured for.
    """
    try:
        predicted = predict(config.array, runs)
    except ValueError as error:
        raise UserError(f"preset {config.name}: {error}; raise array.max_k or array.max_m") from (
            error)
    progress(f"{predicted[-1] + 1:,} cycles predicted")
    try:
        results, _ = run_array(config.array, [run.job for run in runs], simulator=simulator,
                               report=progress)
    except SimulationFailed as error:
        raise CheckFailedError(str(error)) from error
    return summarize(runs, results, predicted)
