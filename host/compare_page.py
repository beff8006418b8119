# SPDX-License-Identifier: Apache-2.0
"""Comparisons as Markdown, and ``docs/compare.md`` from those on record.

``python -m host.compare_page`` rewrites the page; a test fails if it would change.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from golden_model.presets import PRESETS

__all__ = ["DOCUMENT", "HEADS", "RECORDS", "cells", "legend", "markdown", "render", "source",
           "totals"]

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "results" / "compare"
DOCUMENT = ROOT / "docs" / "compare.md"
NOTHING = "-"
HEADS = ("matrix", "N x K", "x", "cycles", "us", "weights/cycle", "of roofline", "GPU kernel",
         "GPU cycles", "GPU us", "warm us", "GPU weights/cycle", "GPU of roofline", "library us",
         "faster", "fewer cycles")
"""Columns of one model's table."""

_HEAD = """# Accelerator and GPU

Cycles of the accelerator against cycles of one GPU, matrix by matrix and for the matrices of a
whole token. `make compare` (or `tritforge compare --preset NAME`) prints it; no GPU is needed,
since the GPU's side is what was measured before, under `docs/results/gpu`. This page is rendered
from JSON under `docs/results/compare` by `python -m host.compare_page`; a comparison is renewed by
its command with `--record`.

- *Accelerator*: from the cycle models, which the simulated RTL equals in every transfer: from the
  first operand to the last result, weights at hand at one beat a cycle. *us*: at the preset's
  clock. *Of roofline*: cycles that the port needs for the weights that are fetched, over the
  cycles taken.
- *GPU*: the fastest kernel of this project that was measured on the shape and gives the same sums,
  for one token. *GPU us*: weights cold (rotated copies); *warm us*: the same weights again and
  again, which then lie in its cache. Cycles are of its multiprocessors' clock, cold. *Of roofline*:
  time that its weight bytes take at the bandwidth that is named, over the time taken. *Library*:
  cuBLAS in bfloat16.
- *Weights/cycle*: all of the matrix's weights, fetched or skipped, over cycles.
- *x*: how often a token takes the matrix; *layers*, *with head*: all of them, one after another.
  *faster*, *fewer cycles*: who, and by how much.
- Up rows, and columns of Wo and Wdown, are fetched as far as activations demand: for the demo model
  the share that its own activations have on held-out text; for the others that of the paper's 7B
  model (table 2 of arXiv:2411.04965), which is an assumption. The GPU's dense kernel fetches all.
- Norms, attention and residual additions are on neither side of these tables. Whole tokens, with
  all of that, stand above the tables they belong to: the accelerator's by the cycle model of the
  decoder (`python -m host.token_report`), its image on the chip; the GPU's as measured, with a
  longer context.
- Energy was measured on neither side, so there is none here.
"""


def _number(value: float | None) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.995 else f"{value:.3f}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1%}"


def _who(ratio: float | None) -> str:
    """Name the winner: `ratio` is the accelerator's over the GPU's."""
    if ratio is None:
        return NOTHING
    return f"GPU {_number(ratio)}x" if ratio >= 1 else f"accelerator {_number(1 / ratio)}x"


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a matrix's row, as `HEADS` names its columns."""
    ours, theirs = row["accelerator"], row["gpu"] or {}
    kernel = theirs.get("kernel", "not measured")
    if theirs.get("kept", 1) < 1:
        kernel = f"{kernel} {theirs['kept']:.0%}"
    return (row["matrix"], f"{row['n']} x {row['k']}", str(row["count"]),
            *(_number(ours[key]) for key in ("cycles", "us", "weights_per_cycle")),
            _share(ours["roofline_share"]), kernel,
            *(_number(theirs.get(key)) for key in ("cycles", "us", "warm_us",
                                                   "weights_per_cycle")),
            _share(theirs.get("roofline_share")), _number(row["library_us"]),
            _who(row["time_ratio"]), _who(row["cycles_ratio"]))


def total_cells(name: str, products: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the row of several matrices together."""
    ours, theirs = products["accelerator"], products["gpu"] or {}
    return (name, "", "",
            *(_number(ours[key]) for key in ("cycles", "us", "weights_per_cycle")), "", "",
            *(_number(theirs.get(key)) for key in ("cycles", "us")), "",
            _number(theirs.get("weights_per_cycle")), "", "",
            _who(products["time_ratio"]), _who(products["cycles_ratio"]))


def totals(model: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows below a model's matrices."""
    return [total_cells("layers", model["all_layers"]),
            total_cells("with head", model["all_matrices"])]


def source(document: Mapping[str, Any]) -> str:
    """Say what is compared, and where the GPU's side comes from."""
    port = (f"{document['name']}: {document['rows']} x {document['lanes']} at "
            f"{document['clock_mhz']:g} MHz, a beat of {document['weights_a_cycle']} weights a "
            f"cycle ({document['weight_bytes_per_s'] / 1e9:.2f} GB/s in base 3).")
    gpu = document["gpu"]
    if gpu is None:
        return f"{port} GPU: nothing on record, so its side is empty."
    return (f"{port} GPU: {gpu['name']} at {gpu['clock_mhz']:,.0f} MHz, roofline at "
            f"{gpu['roofline_bytes_per_s'] / 1e12:g} TB/s; from the record of {gpu['date']}, no "
            "GPU was used for this table.")


def legend(model: Mapping[str, Any]) -> list[str]:
    """Return sentences on one model: its shares, and whole tokens on both sides."""
    lines = [f"Shares of weights fetched are {model['shares']}."]
    token = model["gpu_token"]
    if token is not None:
        lines.append(f"A whole token on the GPU, norms, attention and all, context "
                     f"{token['context']}: {_number(token['us'])} us, {token['cycles']:,} cycles.")
    ours = model.get("accelerator_token")
    if ours is not None:
        lines.append(
            f"A whole token on the accelerator, {ours['rows']} rows of context: "
            f"{_number(ours['us'])} us, {ours['cycles']:,} cycles, {ours['over_bound']:.3f} times "
            f"its {ours['bound_by']} bound." + ("" if ours["time_ratio"] is None else
                                                f" Faster: {_who(ours['time_ratio'])}."))
    return lines


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def markdown(document: Mapping[str, Any]) -> str:
    """Return one comparison as Markdown."""
    parts = [f"\n## {document['name']}\n\n{source(document)}\n"]
    for model in document["models"]:
        rows = [*map(cells, model["matrices"]), *totals(model)]
        parts.append(f"\n### {model['model']} on {document['name']}\n\n"
                     f"{' '.join(legend(model))}\n\n{_table(HEADS, rows)}")
    return "".join(parts)


def render() -> str:
    """Text of the page: what is on record, in the order of the presets."""
    found = [RECORDS / f"{name}.json" for name in PRESETS]
    return _HEAD + "".join(markdown(json.loads(path.read_text(encoding="utf-8")))
                           for path in found if path.is_file())


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")
