# SPDX-License-Identifier: Apache-2.0
"""``tritforge compile``, ``fit`` and ``disassemble``: a model as a memory image."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from golden_model.accelerator_config import AcceleratorConfig
    from golden_model.weights import DecoderWeights

__all__ = ["compile_", "disassemble", "fit"]

DEMO = Path(__file__).parents[2] / "models" / "demo" / "model.safetensors"
DEFAULT_PRESET = "ulx3s"

ModelArgument = Annotated[Path | None, typer.Argument(
    metavar="[MODEL]", help="Packed model; default: the demo model.", show_default=False)]


def _inputs(model: Path | None, preset: str | None, config: str | None,
            override: list[str] | None) -> "tuple[DecoderWeights, AcceleratorConfig]":
    from host.configure import resolve
    from host.errors import UserError
    from host.model_file import ModelFileError, load_model

    resolved = resolve(preset or (None if config else DEFAULT_PRESET),
                       Path(config) if config else None, override or ())
    try:
        return load_model(model or DEMO), resolved
    except ModelFileError as error:
        raise UserError(str(error)) from error


def compile_(
    model: ModelArgument = None,
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    out: Annotated[Path | None, typer.Option(
        "--out", "-o", metavar="FILE", show_default=False,
        help="Image to write; default: build/image/PRESET.tif.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a model into the memory image that an accelerator runs.

    The image holds header, program, weights, gains and tables, beat after beat as the hardware
    reads them, and names the configuration that it is for.

    For example:

    - `tritforge compile --preset ulx3s`

    - `tritforge compile models/demo/model.safetensors -p tiny -o build/tiny.tif`
    """
    from host.errors import UserError
    from host.fit import fit_report, image_for

    weights, resolved = _inputs(model, preset, config, override)
    with step(f"Compiling for {resolved.name}"):
        image = image_for(weights, resolved)
        report = fit_report(weights, resolved)
    if not report["fits"]:
        raise UserError("\n".join(
            f"{limit['name']}: {limit['needed']:,} are needed, {limit['there']:,} there; raise "
            f"{limit['knob']}" for limit in report["limits"] if not limit["fits"]))
    path = out or Path("build", "image", f"{resolved.name}.tif")
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(image.content)
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
    document = {"out": str(path), "bytes": len(image.content), "beats": len(image.beats),
                "config_hash": image.config_hash, "model_hash": image.model_hash,
                "instructions": len(image.program)}
    if as_json:
        print_json(document)
    else:
        console().print(f"{path}  {document['bytes']:,} bytes, {document['beats']:,} beats, "
                        f"{document['instructions']} instructions, for configuration "
                        f"{image.config_hash}", markup=False)


def fit(
    model: ModelArgument = None,
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a model fits an accelerator, what it takes, and which knob to turn.

    Nothing is built. `binds` is the limit of which most is taken. A token's cycles are those of
    the cycle model, which the hardware equals, with a full window and half of the gates above zero;
    beside them stand the least that reading weights, multiplying them and reading keys and values
    would take by itself.

    For example:

    - `tritforge fit --preset ulx3s`

    - `tritforge fit models/demo/model.safetensors -p tiny -c system.depth=16384 --json`
    """
    from host.errors import CheckFailedError
    from host.fit import fit_report

    weights, resolved = _inputs(model, preset, config, override)
    report = fit_report(weights, resolved)
    if as_json:
        print_json(report)
    else:
        _fit_table(report)
    if not report["fits"]:
        raise CheckFailedError(f"the model does not fit {resolved.name}: {report['binds']}; "
                               f"turn {report['knob']}")


def _fit_table(report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{report['preset']}: {report['beats']:,} beats of "
                        f"{report['beat_bits']} bits")
    for title in ("limit", "needed", "there", "share", "knob"):
        table.add_column(title, justify="left" if title in ("limit", "knob") else "right")
    for limit in report["limits"]:
        table.add_row(limit["name"], f"{limit['needed']:,}",
                      f"{limit['there']:,}" if limit["there"] else "no limit",
                      f"{limit['share']:.0%}" if limit["there"] else "",
                      limit["knob"], style=None if limit["fits"] else "bold red")
    screen = console()
    screen.print(table)
    screen.print(f"{report['binds']} binds first: {report['knob']}.")
    token = Table(title=f"A token: {report['cycles_per_token']:,} cycles, "
                        f"{report['tokens_per_second']:,.0f} tokens/s at "
                        f"{report['clock_mhz']:g} MHz")
    parts = ("cycles", "weights", "compute", "kv")
    for title in ("instruction", "times", *parts):
        token.add_column(title, justify="left" if title == "instruction" else "right")
    for row in report["roofline"]:
        token.add_row(row["instruction"], str(row["times"]), *(f"{row[part]:,}" for part in parts))
    screen.print(token)
    whole = ", ".join(f"{name} {cycles:,}" for name, cycles in report["bounds"].items())
    if "batch" in report:
        screen.print(f"A prompt token, {report['batch']} at a time: "
                     f"{report['cycles_per_prompt_token']:,} cycles.")
    screen.print(f"Bounds of the whole: {whole} cycles; {report['bound_by']} binds, "
                 f"{report['over_bound']:.2f} times that is taken.")


def disassemble(
    image: Annotated[Path, typer.Argument(help="Image, as `tritforge compile` writes it.")],
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check an image for a configuration, and print its header and program.

    For example:

    - `tritforge disassemble build/image/ulx3s.tif --preset ulx3s`
    """
    import sys

    from golden_model.config import config_hash
    from golden_model.program import disassemble as lines_of
    from host.compile.image import read_image
    from host.configure import resolve
    from host.errors import UserError

    resolved = resolve(preset or (None if config else DEFAULT_PRESET),
                       Path(config) if config else None, override or ())
    if not resolved.is_whole:
        raise UserError(f"{resolved.name} is no whole accelerator: it lacks units or system")
    found = read_image(image, resolved.decoder.port.beat_bits // 8, config_hash(resolved))
    if as_json:
        print_json({"header": {name: f"{value:016x}" if name.endswith("hash") else value
                               for name, value in found.header.items()},
                    "program": [{"name": each.name, "fields": dict(each.fields)}
                                for each in found.program]})
        return
    for name, value in found.header.items():
        sys.stdout.write(f"{name:18s}{value:016x}\n" if name.endswith("hash") else
                         f"{name:18s}{value}\n")
    sys.stdout.write("\n".join(lines_of(found.program)) + "\n")
