# SPDX-License-Identifier: Apache-2.0
"""``tritforge bench``: tokens a second of each backend, or the GPU's matrix products."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from host.cli.output import (
    ConfigOption,
    FileOption,
    JsonOption,
    PresetOption,
    console,
    print_json,
    step,
)

__all__ = ["bench"]

DEFAULT_PRESET = "ulx3s"
DEMO = Path(__file__).parents[2] / "models" / "demo" / "model.safetensors"
FORMATS = ("table", "md", "csv")


def bench(
    model: Annotated[Path | None, typer.Option(
        metavar="FILE", help="Packed model; default: the demo model.", show_default=False)] = None,
    backend: Annotated[str, typer.Option(help="`auto`, `cpu`, `gpu`, `sim` or `serial`.")] = "auto",
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    port: Annotated[Path | None, typer.Option(
        metavar="DEVICE", help="Serial port of a board; or `--backend serial:DEVICE`.",
        show_default=False)] = None,
    prompt: Annotated[int, typer.Option("--prompt", "-p", help="Tokens read at once; 0: skip.")]
    = 128,
    generate: Annotated[int, typer.Option(
        "--generate", "-n", help="Tokens generated singly; 0: skip.")] = 64,
    runs: Annotated[int, typer.Option("--runs", "-r", help="Runs of each test.")] = 5,
    products: Annotated[bool, typer.Option(
        "--products", help="Time the GPU's matrix products instead: microseconds.")] = False,
    layout: Annotated[str, typer.Option("--format", help="`table`, `md` or `csv`.")] = "table",
    as_json: JsonOption = False,
) -> None:
    """Measure tokens a second: reading a prompt (pp) and generating (tg), median and extremes.

    A first run of each test does not count. Loading is not part of it.

    `auto` measures every backend that is there and that the model fits; simulated hardware only if
    you name it (`--preset`, `--config` or `-c`; `--backend sim` alone means ulx3s) and it was built
    before. `--backend sim` builds it, which takes minutes, and shows clock cycles a token too;
    it reads a few tokens a second, so ask for few.

    For example:

    - `tritforge bench`

    - `tritforge bench -p 0 -n 32 -r 10 --format md`

    - `tritforge bench --backend cpu --json`

    - `tritforge bench --backend sim --preset ulx3s -p 4 -n 4 -r 1`

    - `tritforge bench --products --format md`
    """
    from dataclasses import asdict

    from golden_model.presets import suggestion
    from host.backends.select import Simulation, candidates, choose, with_port
    from host.bench import as_csv, as_markdown, measure
    from host.configure import resolve
    from host.errors import UserError
    from host.manifest import tool_versions
    from host.model_file import ModelFileError, load_model

    if layout not in FORMATS:
        raise UserError(f"--format {layout!r} is unknown{suggestion(layout, FORMATS)} (there are: "
                        f"{', '.join(FORMATS)})")
    if products:
        _products(layout, as_json)
        return
    path = model or DEMO
    try:
        weights = load_model(path)
    except ModelFileError as error:
        raise UserError(str(error)) from error
    backend, port = with_port(backend, port)
    tokens = max(prompt, generate + 1)
    named = bool(preset or config or override or backend == "sim")
    hardware = resolve(preset or (None if config else DEFAULT_PRESET),
                       Path(config) if config else None, override or ()) if named else None
    window = hardware.window if hardware else weights.shape.context
    rows = []
    with step("Measuring") as progress:
        chosen = choose(backend, candidates(port, config=hardware if port else None, simulation=(
            Simulation(hardware, backend == "sim", report=progress) if hardware else None)),
            weights, window, tokens)
        for reason in chosen.refusals if named or port else ():
            progress(reason)
        for each in chosen.backends:
            rows += measure(path.parent.name if path == DEMO else path.stem, weights, each, prompt,
                            generate, runs, window, progress)
            each.close()
    if as_json:
        document = {"rows": [asdict(row) for row in rows], "backends": chosen.reasons,
                    "versions": tool_versions("tritforge", "numpy")}
        if any(row.backend == "gpu" for row in rows):
            from host.gpu.measure import environment
            from host.gpu.runtime import device

            document["gpu"] = environment(device())
        print_json(document)
    elif layout == "table":
        from rich.table import Table

        table = Table(title="Tokens a second")
        for title in ("model", "parameters", "backend", "test", "median", "slowest", "fastest",
                      "runs", "cycles a token"):
            table.add_column(title, justify="left" if title in ("model", "backend", "test") else
                             "right")
        for row in rows:
            table.add_row(row.model, f"{row.parameters:,}", row.backend, row.test,
                          f"{row.median:.1f}", f"{row.slowest:.1f}", f"{row.fastest:.1f}",
                          str(row.runs), "" if row.cycles is None else f"{row.cycles:,.0f}")
        console().print(table)
    else:
        sys.stdout.write(as_markdown(rows) if layout == "md" else as_csv(rows))


def _products(layout: str, as_json: bool) -> None:
    """Time the GPU's matrix products and show them."""
    from host.gpu.measure import as_csv, as_text, measure

    with step("Measuring") as progress:
        result = measure(progress)
    if as_json:
        print_json(result)
    else:
        sys.stdout.write(as_csv(result) if layout == "csv" else as_text(result))
