# SPDX-License-Identifier: Apache-2.0
"""``tritforge cycles``: what the array makes of real layers, from its cycle model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from host.cli.output import (
    ConfigOption,
    FileOption,
    JsonOption,
    PresetOption,
    console,
    print_json,
    record,
)

__all__ = ["cycles"]


def _table(document: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{document['name']}: {document['rows']} x {document['lanes']} array")
    for title in ("model", "layer", "M x K", "input", "cycles", "busy", "MACs used", "alone"):
        table.add_column(title, justify="left" if title in ("model", "layer") else "right")
    before = ""
    for row in document["layers"]:
        if before not in ("", row["model"]):
            table.add_section()
        before = row["model"]
        table.add_row(row["model"], row["layer"], f"{row['m']} x {row['k']}",
                      "INT8" if row["digits"] == 2 else "INT4", f"{row['cycles']:,}",
                      f"{row['busy']:.1%}", f"{row['mac_efficiency']:.1%}", f"{row['alone']:.1%}")
    console().print(table)


def cycles(
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    model: Annotated[str | None, typer.Option(
        help="`demo`, `700M`, `1.3B`, `3B`, `7B` or `2B4T`; default: all.",
        show_default=False)] = None,
    record_to: Annotated[Path | None, typer.Option(
        "--record", metavar="FILE", show_default=False,
        help="Also write the result with command, versions and date.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Predict the cycles of real models' layers on an array; the RTL takes exactly these.

    `busy` is the share of cycles in which weights are multiplied when layers follow each other with
    activations and weights at hand; `MACs used` is how many of the products are the matrix's own,
    the rest being padding; `alone` is `busy` for a layer that first waits for its activations.
    Memory and counters are taken as large as each model needs.

    For example:

    - `tritforge cycles --preset ulx3s --model demo`

    - `tritforge cycles --preset axi128 --model 2B4T -c array.rows=4 --json`
    """
    from golden_model.mac.array_table import LAYERS, layer_table
    from golden_model.presets import suggestion
    from host.configure import resolve
    from host.errors import UserError

    if model is not None and model not in LAYERS:
        raise UserError(f"unknown model {model!r}{suggestion(model, LAYERS)} (there are: "
                        f"{', '.join(LAYERS)})")
    resolved = resolve(preset, Path(config) if config else None,
                       ["units=false", *(override or ())])
    chosen = {model: LAYERS[model]} if model else LAYERS
    rows = [row._asdict() for row in layer_table(resolved.array, chosen)]
    document = {"name": resolved.name, "rows": resolved.array.rows, "lanes": resolved.array.lanes,
                "least_busy": min(row["busy"] for row in rows),
                "least_mac_efficiency": min(row["mac_efficiency"] for row in rows),
                "layers": rows}
    if record_to is not None:
        source = f"--config {config}" if config else f"--preset {resolved.name}"
        words = ["tritforge cycles", source, *(f"-c {change}" for change in override or ()),
                 *([f"--model {model}"] if model else [])]
        record(record_to, " ".join(words), document)
    if as_json:
        print_json(document)
    else:
        _table(document)
