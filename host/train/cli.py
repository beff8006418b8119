# SPDX-License-Identifier: Apache-2.0
"""Command line of training.  Torch is imported inside the commands, so that help needs none."""

import logging
import platform
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from host.train import MissingExtraError, require_extra

if TYPE_CHECKING:
    import torch

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False,
                  help="Train, measure and pack the demo model (BitNet a4.8).")

DEMO = Path("models/demo")
ConfigOption = Annotated[Path, typer.Option("--config", help="Training configuration (TOML).")]
WorkOption = Annotated[Path, typer.Option("--work", help="Folder for tokens and checkpoints.")]
DeviceOption = Annotated[str, typer.Option("--device", help="cuda, cpu or auto.")]
CONFIG, WORK = DEMO / "train.toml", Path("build/train")
RESULTS = Path("docs/results/model.json")


def _fail(error: Exception) -> typer.Exit:
    typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)


def _device(name: str) -> "torch.device":
    """Device by name; ``auto`` takes the GPU if there is one."""
    import torch
    available = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(available if name == "auto" else name)


@app.callback()
def _check() -> None:
    try:
        require_extra()
    except MissingExtraError as error:
        raise _fail(error) from None


@app.command()
def prepare(
        config: ConfigOption = CONFIG, work: WorkOption = WORK,
        corpus: Annotated[Path | None, typer.Option(
            help="Text file of verses; by default the command `bible` is asked.")] = None) -> None:
    """Split the text by book, learn the tokenizer, encode."""
    from host.train import data
    from host.train.config import load_config
    from host.train.corpus import read_verses
    try:
        counts = data.prepare(load_config(config), read_verses(corpus), work)
    except ValueError as error:
        raise _fail(error) from None
    typer.echo(", ".join(f"{split} {n} tokens" for split, n in counts.items()))


@app.command()
def run(
        name: Annotated[str, typer.Argument(help="A run of the configuration, such as a48.")],
        config: ConfigOption = CONFIG, work: WorkOption = WORK,
        device: DeviceOption = "auto",
        steps: Annotated[int | None, typer.Option(help="Steps instead of the configured.")] = None,
        accelerate: Annotated[bool, typer.Option(help="Compile; capture a CUDA graph.")] = True,
) -> None:
    """Train one run, or resume it from its last checkpoint."""
    from rich.progress import Progress, TextColumn, TimeRemainingColumn

    from host.train.config import load_config
    from host.train.data import load_corpus
    from host.train.train import CheckpointError, Job, train
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        settings = load_config(config, {} if steps is None else {"steps": steps})
        if name not in settings.recipes:
            raise ValueError(f"no run {name!r}; there are {', '.join(settings.recipes)}")
        corpus = load_corpus(work, settings.shape.context)
        with Progress(*Progress.get_default_columns()[:3], TimeRemainingColumn(),
                      TextColumn("{task.fields[loss]}"), disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task(name, total=settings.recipes[name].steps, loss="")
            train(Job(config=settings, run=name, text=corpus.train, validation=corpus.validation,
                      checkpoint=work / f"{name}.pt", accelerate=accelerate,
                      device=_device(device),
                      progress=lambda step, loss: bar.update(task, completed=step,
                                                             loss=f"loss {loss:.3f}")))
    except (CheckpointError, ValueError) as error:
        raise _fail(error) from None


@app.command()
def evaluate(
        rows: Annotated[list[str] | None, typer.Argument(help="Evaluations; all by default.")]
        = None,
        config: ConfigOption = CONFIG, work: WorkOption = WORK,
        results: Annotated[Path, typer.Option(help="JSON file to merge the figures into.")]
        = RESULTS,
        device: DeviceOption = "auto",
        made_on: Annotated[str, typer.Option(help="Date to record; today by default.")] = "",
) -> None:
    """Measure evaluations of the configuration on the held-out books."""
    from functools import partial

    import safetensors
    import tokenizers
    import torch

    from host.train.config import load_config
    from host.train.data import load_corpus
    from host.train.report import measure, merge_json
    try:
        settings = load_config(config)
        unknown = sorted(set(rows or ()) - settings.evaluations.keys())
        if unknown:
            raise ValueError(f"no evaluation {unknown[0]!r}; there are "
                             f"{', '.join(settings.evaluations)}")
        corpus = load_corpus(work, settings.shape.context)
        for line in measure(settings, corpus, work, partial(merge_json, results), rows,
                            _device(device)):
            typer.echo(line)
    except (FileNotFoundError, ValueError) as error:
        raise _fail(error) from None
    made: dict[str, Any] = {
        "command": ["python -m host.train prepare",
                    *(f"python -m host.train run {name}" for name in settings.recipes),
                    "python -m host.train evaluate", "python -m host.train export",
                    "python -m host.train exact", "python -m host.train tables"],
        "config": str(config), "date": made_on or date.today().isoformat(),
        "evaluated_on": f"{_device(device).type}, float32",
        "held_out": list(settings.held_out), "validation": list(settings.validation),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__),
                     "tokenizers": tokenizers.__version__,
                     "safetensors": safetensors.__version__}}
    merge_json(results, {"made": made})
    typer.echo(f"wrote {results}")


@app.command()
def export(
        config: ConfigOption = CONFIG, work: WorkOption = WORK,
        row: Annotated[str, typer.Option(help="Evaluation whose weights and scheme to pack.")]
        = "a48_kv3_q8",
        out: Annotated[Path, typer.Option(help="Folder for the packed model.")] = DEMO,
        windows: Annotated[int, typer.Option(help="Held-out windows to ship.")] = 48,
        device: DeviceOption = "auto") -> None:
    """Pack the model; ship tokenizer, log and held-out tokens beside it."""
    from host.train.config import load_config
    from host.train.data import load_corpus
    from host.train.ship import ship
    try:
        settings = load_config(config)
        weights = ship(settings, load_corpus(work, settings.shape.context), work, row, out,
                        windows, _device(device))
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise _fail(error) from None
    typer.echo(f"packed {row}: {weights.numerics}, residual_frac {weights.residual_frac}")


@app.command()
def exact(
        config: ConfigOption = CONFIG, work: WorkOption = WORK,
        model: Annotated[Path, typer.Option(help="Packed model.")] = DEMO / "model.safetensors",
        results: Annotated[Path, typer.Option(help="JSON file to merge the figures into.")]
        = RESULTS,
        windows: Annotated[int | None, typer.Option(help="First held-out windows only.")] = None,
) -> None:
    """Measure the packed model in integers on the held-out books, beside its float rows."""
    import json

    from host.model_file import load_model
    from host.train.config import load_config
    from host.train.data import load_corpus
    from host.train.exact_rows import measure_exact
    from host.train.report import merge_json
    try:
        held_out = load_corpus(work, load_config(config).shape.context).held_out.numpy()
        floats = json.loads(results.read_text())["runs"]
        for row, figures in measure_exact(load_model(model), held_out[:windows], floats):
            typer.echo(f"{row}: {figures}")
            if windows is None:
                merge_json(results, {"runs": {row: figures}})
    except (OSError, KeyError, ValueError) as error:
        raise _fail(error) from None


@app.command(name="tables")
def tables_command(
        results: Annotated[Path, typer.Option(help="Figures.")] = RESULTS,
        document: Annotated[Path, typer.Option(help="Document to rewrite the tables of.")]
        = Path("docs/model.md")) -> None:
    """Render the figures as tables in the documentation."""
    from host.train.report import tables
    try:
        tables(results, document)
    except (OSError, ValueError) as error:
        raise _fail(error) from None
    typer.echo(f"wrote {document}")
