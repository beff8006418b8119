# SPDX-License-Identifier: Apache-2.0
"""Linear layers of a trained model through the simulated array, against the golden model.

The exact decoder runs on held-out text and captures what enters and leaves each projection.  The
same codes and weights then go through the RTL, back to back; sums must equal what the decoder
computed, and every cycle what the cycle model predicted ahead of the run.
:mod:`host.demo_block` does so with the units that leave weights out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import ArrayConfig
from golden_model.mac.ternary_array import ArrayCycles, command_for
from golden_model.weights import DecoderWeights
from host.errors import CheckFailedError, UserError
from host.model_file import ModelFileError, load_model
from sim.array_jobs import Job, JobResult, run_array
from sim.masked_jobs import Recording
from sim.runner import SimulationFailed

__all__ = ["CONTEXT", "DENSE", "HELD_OUT", "MODEL", "LayerRow", "LayerRun", "Product", "decode",
           "dense_product", "layer_runs", "load_tokens", "predict", "read_model", "run_layers",
           "summarize"]

MODEL = Path(__file__).parents[1] / "models" / "demo" / "model.safetensors"
HELD_OUT = MODEL.with_name("heldout.safetensors")

CONTEXT = 32
"""Held-out tokens that the decoder reads ahead of the first one that is simulated."""
IDLE_LIMIT = 100_000
"""Cycles after which the cycle model counts as hung."""

DENSE = ("wq", "wk", "wv", "wo", "gate", "up", "down")
"""One token's products in order, if the array computes them all."""

_REUSES = ("wk", "wv", "up")  # they find their activations in the array already
_TWO_DIGITS = ("wo", "down")  # INT8 inputs are two digits


class Product(NamedTuple):
    """One matrix, and how much of it all tokens' products took."""

    name: str
    m: int
    k: int
    digits: int
    """Passes that the array would need: 2 for INT8 inputs."""
    fetched: int
    """Weights that were fetched."""
    dense: int
    """Cycles in which the array would multiply all of them."""

    def __add__(self, other: object) -> "Product":
        """Sum up what two tokens' products took."""
        if not isinstance(other, Product):
            return NotImplemented
        return self._replace(fetched=self.fetched + other.fetched, dense=self.dense + other.dense)


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
    """What all tokens' runs of one matrix, or of one feed-forward block, took."""

    layer: str
    unit: str
    """``array``, ``masked_linear`` or ``gated_ffn``."""
    products: tuple[Product, ...]
    tokens: int
    cycles: int
    """Measured in the RTL: from the last result of the run before to this one's last."""
    predicted: int
    """The same from the cycle model."""
    equal: bool
    """Every sum and scale equals the exact decoder's, and nothing was fetched that it left out."""
    on_time: bool
    """Every transfer that is looked at came in its predicted cycle."""

    @property
    def dense(self) -> int:
        """Cycles in which the array would multiply all weights."""
        return sum(product.dense for product in self.products)

    @property
    def fetched(self) -> float:
        """Share of the weights that was fetched."""
        return (sum(product.fetched for product in self.products)
                / sum(product.m * product.k * self.tokens for product in self.products))

    @property
    def passed(self) -> bool:
        """Values and cycles are as predicted."""
        return self.equal and self.on_time and self.cycles == self.predicted

    def __add__(self, other: object) -> "LayerRow":
        """Sum up the runs of more tokens."""
        if not isinstance(other, LayerRow):
            return NotImplemented
        return LayerRow(
            layer=self.layer, unit=self.unit, tokens=self.tokens + other.tokens,
            products=tuple(a + b for a, b in zip(self.products, other.products, strict=True)),
            cycles=self.cycles + other.cycles, predicted=self.predicted + other.predicted,
            equal=self.equal and other.equal, on_time=self.on_time and other.on_time)


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


def decode(weights: DecoderWeights, tokens: NDArray[np.int64], blocks: int) -> Recording:
    """Run the exact decoder on tokens of which the first `blocks` blocks are to be looked at."""
    if not 1 <= blocks <= weights.shape.layers:
        raise UserError(f"--blocks must lie in 1..{weights.shape.layers} for this model, not "
                        f"{blocks}")
    return Recording(weights, tokens)


def layer_runs(decoder: Recording, blocks: int, count: int,
               parts: Sequence[str] = DENSE) -> list[LayerRun]:
    """Products of the last `count` tokens in the first `blocks` decoder blocks, token by token."""
    runs = []
    for t in range(decoder.position - count, decoder.position):
        for i in range(blocks):
            for part in parts:
                name = f"layers.{i}.{part}"
                trace = decoder.capture[name]
                job = Job(trits=decoder.weights.layers[i].matrices[part].trits,
                          codes=trace.codes[t], digits=2 if part in _TWO_DIGITS else 1,
                          reuse=part in _REUSES)
                runs.append(LayerRun(name, job, trace.sums[t]))
    return runs


def dense_product(config: ArrayConfig, name: str, shape: tuple[int, int],
                  fetched: int | None = None) -> Product:
    """Return one token's product of a matrix [M, K] of which `fetched` weights, or all, came."""
    m, k = shape
    digits = 2 if name in _TWO_DIGITS else 1
    command = command_for(config, m, k, digits)
    return Product(name, m, k, digits, m * k if fetched is None else fetched,
                   command.blocks * command.tiles * digits)


def predict(config: AcceleratorConfig, runs: Sequence[LayerRun]) -> list[int]:
    """Cycle, from 0, in which each product's last result leaves if nobody stalls.

    Raises
    ------
    UserError
        A matrix is larger than the array was configured for.
    """
    model = ArrayCycles(config.array)
    try:
        commands = []
        for run in runs:
            m, k = run.job.trits.shape
            commands.append(command_for(config.array, m, k, run.job.digits, run.job.reuse))
    except ValueError as error:
        raise UserError(f"preset {config.name}: {error}; raise array.max_k or array.max_m") from (
            error)
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


def summarize(config: ArrayConfig, runs: Sequence[LayerRun], results: Sequence[JobResult],
              predicted: Sequence[int]) -> list[LayerRow]:
    """One row for each matrix, in the order in which they run."""
    rows: dict[str, LayerRow] = {}
    measured_before = predicted_before = -1
    for run, result, end in zip(runs, results, predicted, strict=True):
        part = run.name.rpartition(".")[2]
        row = LayerRow(
            layer=run.name, unit="array", tokens=1,
            products=(dense_product(config, part, run.job.trits.shape),),
            cycles=result.outputs[-1] - measured_before, predicted=end - predicted_before,
            equal=result.sums == run.sums.tolist(), on_time=result.outputs[-1] == end)
        rows[run.name] = rows[run.name] + row if run.name in rows else row
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
    predicted = predict(config, runs)
    progress(f"{predicted[-1] + 1:,} cycles predicted")
    try:
        results, _ = run_array(config.array, [run.job for run in runs], simulator=simulator,
                               report=progress)
    except SimulationFailed as error:
        raise CheckFailedError(str(error)) from error
    return summarize(config.array, runs, results, predicted)
