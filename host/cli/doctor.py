# SPDX-License-Identifier: Apache-2.0
"""``tritforge doctor``: which tools are here, and how to mend what is missing."""

import typer

from host.cli.output import JsonOption, console, print_json

__all__ = ["doctor"]


def doctor(as_json: JsonOption = False) -> None:
    """List every tool: version, where it was found, and how to mend what is missing.

    Ends with exit code 3 if something that a command needs is missing or too old; tools that are
    optional are listed, and never fail it.

    For example:

    - `tritforge doctor`

    - `tritforge doctor --json`
    """
    from host.doctor import TOOLS, examine, examine_python
    from host.errors import MissingToolError

    findings = [examine_python(), *map(examine, TOOLS)]
    healthy = not any(finding.needed for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "tools": [
            {"name": f.tool.name, "version": f.version, "where": f.where, "fault": f.fault,
             "optional": f.tool.optional, "used_for": list(f.tool.used_for),
             "mend": f.tool.mend if f.fault else ""} for f in findings]})
    else:
        from rich.markup import escape
        from rich.table import Table

        table = Table()
        for title in ("tool", "version", "verdict", "used for", "where, or how to mend"):
            table.add_column(title, overflow="fold")
        for f in findings:
            verdict = "[green]ok[/]"
            if f.fault:
                colour, note = ("yellow", " (optional)") if f.tool.optional else ("red", "")
                verdict = f"[{colour}]{f.fault}{note}[/]"
            table.add_row(f.tool.name, f.version, verdict, ", ".join(f.tool.used_for),
                          escape(f.tool.mend if f.fault else f.where))
        console().print(table)
    if not healthy:
        raise typer.Exit(MissingToolError.exit_code)
