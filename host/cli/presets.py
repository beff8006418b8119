# SPDX-License-Identifier: Apache-2.0
"""``tritforge presets``: the named configurations."""

import dataclasses
from typing import Annotated, Any

import typer

from host.cli.output import JsonOption, console, print_json

__all__ = ["presets"]


def _summary(name: str) -> dict[str, Any]:
    from golden_model.area import estimate
    from golden_model.config import config_hash
    from golden_model.presets import PRESETS

    config = PRESETS[name]
    return {"name": name, "description": config.description, "hash": config_hash(config),
            "macs_per_cycle": config.array.macs_per_cycle,
            "estimate": dataclasses.asdict(estimate(config)),
            "configuration": dataclasses.asdict(config)}


def _table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table()
    for title in ("preset", "rows x lanes", "digit", "target", "MHz", "LUTs (estimate)", "for"):
        table.add_column(title, overflow="fold")
    for row in rows:
        config, need = row["configuration"], row["estimate"]
        array, target = config["array"], config["target"]
        room = f"{need['luts']:,}"
        if target["luts"]:
            room += f" of {target['luts']:,}"
        table.add_row(row["name"], f"{array['rows']} x {array['lanes']}",
                      f"{array['digit_bits']} bit", target["name"], f"{config['clock_mhz']:g}",
                      room, row["description"])
    console().print(table)


def presets(
    action: Annotated[str, typer.Argument(help="`list` or `show`.")] = "list",
    name: Annotated[str | None, typer.Argument(help="Preset to show.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the named configurations, or show one with every value resolved.

    For example:

    - `tritforge presets`

    - `tritforge presets show ulx3s`

    - `tritforge presets --json`
    """
    from golden_model.presets import PRESETS, preset
    from host.errors import UserError

    if action not in {"list", "show"} or (action == "show") != (name is not None):
        raise UserError("say `tritforge presets`, or `tritforge presets show NAME` "
                        f"(there are: {', '.join(PRESETS)})")
    if name is not None:
        try:
            preset(name)
        except ValueError as error:
            raise UserError(str(error)) from error
        print_json(_summary(name))
        return
    rows = [_summary(each) for each in PRESETS]
    if as_json:
        print_json({"presets": rows})
    else:
        _table(rows)
