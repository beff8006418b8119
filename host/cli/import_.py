# SPDX-License-Identifier: Apache-2.0
"""``tritforge import``: a checkpoint of another project to a packed model."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from host.cli.output import JsonOption, console, print_json, step

if TYPE_CHECKING:
    from host.importing.build import Imported

__all__ = ["import_"]


def _document(found: "Imported", out: Path | None) -> dict[str, Any]:
    """Everything that the table shows, for programs."""
    error, shape = found.embedding, found.weights.shape
    return {
        "layout": found.layout, "architecture": found.architecture, "shape": vars(shape),
        "ternary_parameters": shape.ternary_parameters,
        "numerics": vars(found.weights.numerics), "residual_frac": found.weights.residual_frac,
        "embedding": {"scale": error.scale, "exact": error.exact,
                      "sqnr_db": error.sqnr_db if math.isfinite(error.sqnr_db) else None,
                      "largest_error": error.largest, "clipped": error.clipped},
        "matrices": [vars(row) for row in found.matrices], "notes": found.notes,
        "written": str(out) if out is not None else None}


def _table(document: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"{document['layout']} ({document['architecture']}): "
                               f"{document['ternary_parameters']:,} ternary weights"))
    for title in ("matrix", "layers", "rows x columns", "scale", "zeros"):
        table.add_column(title, justify="left" if title == "matrix" else "right")
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in document["matrices"]:
        parts.setdefault(row["name"].rpartition(".")[2], []).append(row)
    for part, rows in parts.items():
        scales, zeros = ([row[key] for row in rows] for key in ("scale", "zeros"))
        table.add_row(part, str(len(rows)), f"{rows[0]['rows']} x {rows[0]['columns']}",
                      f"{min(scales):.4g} to {max(scales):.4g}",
                      f"{min(zeros):.1%} to {max(zeros):.1%}")
    shape, error = document["shape"], document["embedding"]
    table.add_section()
    noise = "exact" if error["exact"] else f"SQNR {error['sqnr_db']:.1f} dB"
    table.add_row("embedding, head", "", f"{shape['vocab']} x {shape['hidden']}",
                  f"{error['scale']:.4g}", "")
    out = console()
    out.print(table)
    out.print(f"Embedding in three trits: {noise}, largest error {error['largest_error']:.2%} of "
              f"the largest weight, {error['clipped']:.3%} clipped.")
    for note in document["notes"]:
        out.print(escape(note))
    out.print(escape(f"Written: {document['written']}") if document["written"] else
              "Nothing was written.")


def import_(
    checkpoint: Annotated[Path, typer.Argument(
        metavar="DIR|FILE", help="Directory with config.json and safetensors, or a GGUF file.")],
    out: Annotated[Path | None, typer.Option(
        "--out", "-o", metavar="FILE", help="Packed model to write.", show_default=False)] = None,
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Read and check everything, write nothing.")] = False,
    scheme: Annotated[str, typer.Option(
        help="Numerics: `b158` (INT8 inputs, dense: as trained) or `a48`.")] = "b158",
    scale: Annotated[str | None, typer.Option(
        help="What a weight_scale does: `multiply` or `divide`; default: as the checkpoint says.",
        show_default=False)] = None,
    i2_s_block: Annotated[int, typer.Option(
        help="Elements of an I2_S block: 128, or 64 for files written on ARM.")] = 128,
    residual_frac: Annotated[int | None, typer.Option(
        min=0, max=23, help="Fraction bits of the residual stream; default: found by a short run.",
        show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a BitNet checkpoint of another project into a packed model.

    Reads Hugging Face directories (packed uint8 and float masters) and GGUF files (TQ1_0, TQ2_0,
    I2_S). What a packed model cannot hold is refused by name; docs/import.md lists it.

    For example:

    - `tritforge import CHECKPOINT --dry-run`

    - `tritforge import CHECKPOINT --out model.safetensors --scheme a48`

    - `tritforge import model.gguf --out model.safetensors --json`
    """
    from golden_model.presets import suggestion
    from host.errors import UserError
    from host.importing.build import SCHEMES, import_model, open_source, write_model
    from host.importing.hugging_face import SCALES

    for option, value, known in (("--scheme", scheme, tuple(SCHEMES)), ("--scale", scale, SCALES)):
        if value is not None and value not in known:
            raise UserError(f"{option} {value!r} is unknown{suggestion(value, known)} (there are: "
                            f"{', '.join(known)})")
    if i2_s_block not in (64, 128):
        raise UserError(f"--i2-s-block must be 128 or 64, not {i2_s_block}")
    if (out is None) != dry_run:
        raise UserError("say where to write with --out FILE, or --dry-run to write nothing")
    if out is not None and out.exists() and not force:
        raise UserError(f"{out} exists; --force replaces it")
    with step("Reading the checkpoint") as progress:
        found = import_model(open_source(checkpoint, scale, i2_s_block), scheme, residual_frac,
                             progress)
    if out is not None:
        write_model(out, found.weights, force)
    document = _document(found, out)
    if as_json:
        print_json(document)
    else:
        _table(document)
