# SPDX-License-Identifier: Apache-2.0
"""``tritforge compare``: the accelerator's cycles against a GPU's."""

import sys
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
    step,
)

__all__ = ["compare"]

DEFAULT = "axi128"
SCREEN = {"matrix": "matrix", "N x K": "N x K", "cycles": "cycles", "us": "us",
          "weights/cycle": "w/cycle", "of roofline": "roof", "GPU cycles": "GPU cyc.",
          "GPU us": "GPU us", "GPU weights/cycle": "w/cycle", "GPU of roofline": "roof",
          "faster": "faster", "fewer cycles": "fewer cycles"}
"""Columns that a screen has room for, and what they are called there."""


def _tables(document: dict[str, Any]) -> None:
    from rich.table import Table

    from host.compare_page import HEADS, cells, legend, source, totals

    screen = console()
    screen.print(source(document), markup=False)
    shown = [n for n, head in enumerate(HEADS) if head in SCREEN]

    def fit(row: tuple[str, ...]) -> list[str]:
        return [row[n].replace("accelerator", "acc.") for n in shown]

    for model in document["models"]:
        table = Table(title=f"{model['model']} ({model['layers']} layers)")
        for n in shown:
            table.add_column(SCREEN[HEADS[n]], justify="left" if n == 0 else "right")
        for row in model["matrices"]:
            table.add_row(*fit(cells(row)))
        table.add_section()
        for each in totals(model):
            table.add_row(*fit(each))
        screen.print(table)
        for line in legend(model):
            screen.print(line, markup=False)
    screen.print("Norms, attention and residual additions are not in the tables; energy was "
                 "measured on neither side.", markup=False)


def compare(
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    model: Annotated[str | None, typer.Option(
        help="`demo`, `700M`, `1.3B`, `3B`, `7B` or `2B4T`; default: all.",
        show_default=False)] = None,
    gpu_results: Annotated[Path | None, typer.Option(
        "--gpu-results", metavar="DIR", show_default=False,
        help="Measurements of another GPU; default: those on record.")] = None,
    as_markdown: Annotated[bool, typer.Option(
        "--markdown", help="Print Markdown.")] = False,
    record_to: Annotated[Path | None, typer.Option(
        "--record", metavar="FILE", show_default=False,
        help="Also write the result with command, versions and date.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the accelerator's cycles with a GPU's, matrix by matrix and per token.

    The accelerator's cycles are those of the cycle models, which the RTL equals; the GPU's were
    measured before and are on record, so that no GPU is needed. Without a preset or a file the
    accelerator is `axi128`. docs/compare.md says what each column means.

    For example:

    - `tritforge compare`

    - `tritforge compare --preset ulx3s --model demo`

    - `tritforge compare --model 2B4T -c clock_mhz=300 --json`
    """
    from golden_model.presets import suggestion
    from host import compare as comparison
    from host.compare_page import markdown
    from host.configure import resolve
    from host.errors import UserError

    if as_json and as_markdown:
        raise UserError("--json and --markdown: give one of them")
    if model is not None and model not in comparison.MODELS:
        raise UserError(f"unknown model {model!r}{suggestion(model, comparison.MODELS)} (there "
                        f"are: {', '.join(comparison.MODELS)})")
    chosen = preset if preset or config else DEFAULT
    resolved = resolve(chosen, Path(config) if config else None, override or ())
    if gpu_results is not None and not gpu_results.is_dir():
        raise UserError(f"{gpu_results}: no such directory")
    gpu = comparison.read_gpu(gpu_results or comparison.GPU_RESULTS)
    with step("Running the cycle models"):
        document = comparison.compare(resolved, gpu,
                                      [model] if model else tuple(comparison.MODELS))
    if record_to is not None:
        words = ["tritforge compare",
                 f"--config {config}" if config else f"--preset {resolved.name}",
                 *(f"-c {change}" for change in override or ()),
                 *([f"--model {model}"] if model else []),
                 *([f"--gpu-results {gpu_results}"] if gpu_results else [])]
        record(record_to, " ".join(words), document)
    if as_json:
        print_json(document)
    elif as_markdown:
        sys.stdout.write(markdown(document).lstrip())
    else:
        _tables(document)
