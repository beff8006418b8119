# SPDX-License-Identifier: Apache-2.0
"""``tritforge registers``: the register table, for people and for tools."""

import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from host.cli.output import JsonOption, console

__all__ = ["registers"]


def _table() -> None:
    from rich.table import Table

    from golden_model.registers import REGISTERS
    from host.export.table import summary

    table = Table()
    for title in ("offset", "register", "access", "purpose"):
        table.add_column(title, overflow="fold")
    for one in REGISTERS:
        table.add_row(f"{one.offset:#05x}", one.name, one.access, summary(one))
    console().print(table)


def _write(text: str, out: Path, *, force: bool) -> None:
    """Write the file whole or not at all."""
    from host.errors import UserError

    if out.is_dir():
        raise UserError(f"{out}: is a directory; name a file")
    if (out.exists() or out.is_symlink()) and not force:
        raise UserError(f"{out}: exists; --force replaces it")
    partial = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
        partial = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        partial.chmod(0o644)
        partial.replace(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def registers(
    form: Annotated[str | None, typer.Option(
        "--format", "-f", metavar="FORMAT", show_default=False,
        help="`svd`, `c`, `html` or `json`; without it, a table for the screen.")] = None,
    out: Annotated[Path | None, typer.Option(
        "--out", "-o", metavar="FILE", show_default=False,
        help="File to write instead of standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the control registers, or write them as SVD, C header, HTML page or JSON.

    For example:

    - `tritforge registers`

    - `tritforge registers --format c --out build/tritforge_registers.h`

    - `tritforge registers --format svd > tritforge.svd`

    - `tritforge registers --json`
    """
    import difflib

    from host.errors import UserError
    from host.export import FORMATS

    if as_json and form not in (None, "json"):
        raise UserError(f"--json and --format {form}: give one of them")
    form = "json" if as_json else form
    if form is None:
        if out is not None:
            raise UserError(f"--out needs a --format: {', '.join(FORMATS)}")
        _table()
        return
    if form not in FORMATS:
        near = difflib.get_close_matches(form, FORMATS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UserError(f"{form}: no such format ({', '.join(FORMATS)}){hint}")
    text = FORMATS[form][1]()
    if out is None:
        sys.stdout.write(text)
        return
    _write(text, out, force=force)
    sys.stderr.write(f"{out}  {len(text.encode()):,} bytes\n")
