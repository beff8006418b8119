# SPDX-License-Identifier: Apache-2.0
"""Decoder blocks of a trained model through the simulated units, against the golden model.

Wq, Wk and Wv go through the array; Wo through the masked product, which takes the words of
attention and fetches the columns of the largest codes only; the feed-forward block through the unit
that fetches the up rows of active gates and the columns of Wdown whose code is not zero.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model import smallfloat
from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import ArrayConfig
from golden_model.ffn.captured import ffn_weights
from golden_model.ffn.gated_ffn import FfnVector
from golden_model.ffn_config import GatedFfnConfig
from golden_model.quant.activations import PEAK
from golden_model.sparse_config import MaskedLinearConfig
from golden_model.weights import DecoderWeights
from host.compile.fit import check_norms
from host.demo import LayerRow, Product, dense_product, layer_runs, predict, summarize
from host.errors import CheckFailedError, UserError
from sim.block_jobs import BlockJobs, UnitResult, run_block
from sim.ffn_jobs import FfnJob, ffn_cycles
from sim.masked_jobs import Recording, masked_cycles
from sim.runner import SimulationFailed

__all__ = ["UnitRun", "engines", "ffn_runs", "run_blocks", "summarize_unit", "wo_runs"]

LATENCY = 4
"""Cycles from a request of a row or column to its first beat."""

_ON_ARRAY = ("wq", "wk", "wv")

Cycles = Sequence[Mapping[str, Sequence[int]]]
"""Cycle of every transfer by stream, of one run after the other."""


@dataclass(frozen=True, eq=False)
class UnitRun:
    """One token's run of a unit: its job, and what must come out and be fetched."""

    name: str
    """Such as ``layers.0.wo``."""
    job: Any
    products: tuple[Product, ...]
    sums: NDArray[np.int64]
    """Results [M] of the exact decoder."""
    scale: np.float64
    """Their scale."""
    requests: dict[str, NDArray[np.int64]]
    """Rows or columns that the exact decoder does not multiply by zero, by stream."""


def engines(config: AcceleratorConfig,
            weights: DecoderWeights) -> tuple[MaskedLinearConfig, GatedFfnConfig]:
    """Units of `config` for Wo and for the feed-forward block; UserError if they do not fit."""
    shape, numerics, units = weights.shape, weights.numerics, config.units
    if units is None:
        raise UserError(f"preset {config.name} is an array alone: add --dense")
    check_norms(weights)
    for field, limit, size in (("max_hidden", units.max_hidden, max(shape.hidden, shape.q_dim)),
                               ("max_ffn", units.max_ffn, shape.ffn)):
        if size > limit:
            raise UserError(f"preset {config.name}: the model needs units.{field} of at least "
                            f"{size}, not {limit}")
    if numerics.topk_key != "code":
        raise UserError(f"the units select inputs of Wo by code, the model by {numerics.topk_key}")
    if numerics.topk_block not in (0, config.numerics.topk_block):
        raise UserError(f"preset {config.name}: the model needs numerics.topk_block of "
                        f"{numerics.topk_block}, not {config.numerics.topk_block}")
    if numerics.act_format != config.numerics.act_format:
        raise UserError(f"preset {config.name}: the model needs numerics.act_format of "
                        f"{numerics.act_format}, not {config.numerics.act_format}")
    return config.masked_linear, config.gated_ffn


def _places(decoder: Recording, blocks: int, count: int) -> Iterator[tuple[int, int]]:
    """Token and block of each run."""
    for t in range(decoder.position - count, decoder.position):
        yield from ((t, i) for i in range(blocks))


def wo_runs(array: ArrayConfig, decoder: Recording, blocks: int, count: int) -> list[UnitRun]:
    """Wo of the last `count` tokens in the first `blocks` decoder blocks."""
    runs = []
    for t, i in _places(decoder, blocks, count):
        job, trace = decoder.job(i, "wo", t), decoder.capture[f"layers.{i}.wo"]
        kept = np.flatnonzero(trace.codes[t])
        m, _ = job.weights.shape
        runs.append(UnitRun(
            f"layers.{i}.wo", job, (dense_product(array, "wo", job.weights.shape, kept.size * m),),
            trace.sums[t], trace.out_scale[t], {"o_request": kept}))
    return runs


def ffn_runs(array: ArrayConfig, config: GatedFfnConfig, decoder: Recording, blocks: int,
             count: int) -> list[UnitRun]:
    """Feed-forward blocks of the last `count` tokens in the first `blocks` decoder blocks."""
    layers = [ffn_weights(decoder.weights, i) for i in range(blocks)]
    peak = PEAK[decoder.numerics.act_format]
    runs = []
    for t, i in _places(decoder, blocks, count):
        gate, down = (decoder.capture[f"layers.{i}.{part}"] for part in ("gate", "down"))
        vector = FfnVector(gate.codes[t].astype(np.int8), gate.in_scale[t], layers[i], peak)
        rows, columns = np.flatnonzero(gate.sums[t] > 0), np.flatnonzero(down.codes[t])
        (m, _), (_, k) = layers[i].down.shape, layers[i].up.shape
        products = (dense_product(array, "gate", layers[i].gate.shape),
                    dense_product(array, "up", layers[i].up.shape, rows.size * k),
                    dense_product(array, "down", layers[i].down.shape, columns.size * m))
        runs.append(UnitRun(f"layers.{i}.ffn", FfnJob(config, vector), products, down.sums[t],
                            down.out_scale[t],
                            {"o_up_request": rows, "o_down_request": columns}))
    return runs


def _split(values: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Parts of the given lengths; the last holds what is left over too."""
    starts = [0, *accumulate(lengths)][:-1]
    return [list(values[a:b]) for a, b in pairwise([*starts, len(values)])]


def summarize_unit(unit: str, runs: Sequence[UnitRun], result: UnitResult,
                   predicted: Cycles) -> list[LayerRow]:
    """One row for each layer, in the order in which they run."""
    width = len(result.sums) // len(runs)
    cycles = {name: _split(result.cycles[name], [len(part[name]) for part in predicted])
              for name in predicted[0]}
    requests = {name: _split(result.requests[name], [run.requests[name].size for run in runs])
                for name in runs[0].requests}
    rows: dict[str, LayerRow] = {}
    measured_before = predicted_before = -1
    for n, (run, part) in enumerate(zip(runs, predicted, strict=True)):
        m, e = smallfloat.split(np.asarray(run.scale))
        equal = (result.sums[n * width:n * width + run.sums.size] == run.sums.tolist()
                 and result.scales[n] == {"m": int(m), "e": int(e)}
                 and all(requests[name][n] == wanted.tolist()
                         for name, wanted in run.requests.items()))
        measured = max(cycles["o"][n][-1], cycles["o_scale"][n][-1])
        end = max(part["o"][-1], part["o_scale"][-1])
        row = LayerRow(layer=run.name, unit=unit, products=run.products, tokens=1,
                       cycles=measured - measured_before, predicted=end - predicted_before,
                       equal=equal, on_time=all(cycles[name][n] == list(part[name])
                                                for name in part))
        rows[run.name] = rows[run.name] + row if run.name in rows else row
        measured_before, predicted_before = measured, end
    return list(rows.values())


def run_blocks(config: AcceleratorConfig, decoder: Recording, blocks: int, count: int,
               simulator: str, progress: Callable[[str], None]) -> list[LayerRow]:
    """Send blocks through the RTL of `config` and compare values and cycles; a row a layer.

    `progress` is told each stage in a few words.

    Raises
    ------
    CheckFailedError
        The simulation ended early: the bench found a difference or could not be built.
    UserError
        The model does not fit the configuration.
    """
    wo_config, ffn_config = engines(config, decoder.weights)
    on_array = layer_runs(decoder, blocks, count, _ON_ARRAY)
    ends = predict(config, on_array)
    wo = wo_runs(config.array, decoder, blocks, count)
    ffn = ffn_runs(config.array, ffn_config, decoder, blocks, count)
    jobs = BlockJobs(array=[run.job for run in on_array], wo=[run.job for run in wo],
                     ffn=[run.job for run in ffn], latency=LATENCY,
                     configs=(config.array, wo_config, ffn_config))
    wo_cycles = masked_cycles(wo_config, jobs.wo, LATENCY)
    block_cycles = ffn_cycles(ffn_config, jobs.ffn, LATENCY)
    total = ends[-1] + sum(max(part[-1]["o"][-1], part[-1]["o_scale"][-1])
                           for part in (wo_cycles, block_cycles)) + 3
    progress(f"{total:,} cycles predicted")
    try:
        results = run_block(jobs, simulator=simulator, report=progress)
    except SimulationFailed as error:
        raise CheckFailedError(str(error)) from error
    rows = [*summarize(config.array, on_array, results.array, ends),
            *summarize_unit("masked_linear", wo, results.wo, wo_cycles),
            *summarize_unit("gated_ffn", ffn, results.ffn, block_cycles)]
    order = {name: n for n, name in enumerate((*_ON_ARRAY, "wo", "ffn"))}

    def place(row: LayerRow) -> tuple[int, int]:
        _, block, part = row.layer.split(".")
        return int(block), order[part]

    return sorted(rows, key=place)
