# SPDX-License-Identifier: Apache-2.0
"""README and FuseSoC core of generated folders."""

import dataclasses
import json
import re

import pytest

from golden_model.presets import PRESETS
from host.kit.core import CORE
from host.kit.readme import README
from host.verilog import MANIFEST, generate, roles

DRIVER = {"tritforge.c", "tritforge.h", "tritforge_config.h", "tritforge_registers.h",
          "tritforge.svd", "registers.html"}


CONFIGS = {"icebreaker": PRESETS["icebreaker"],
           "parts": dataclasses.replace(PRESETS["tiny"], system=None),
           "axi_lite": PRESETS["tiny"], "wishbone": PRESETS["ulx3s"], "axi": PRESETS["axi128"]}


@pytest.fixture(scope="module", params=CONFIGS)
def kit(request):
    """Files, and the manifest, of configurations with every kind of port; nothing is emitted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hw.emit.emit_verilog", lambda _, name: f"module {name}; endmodule\n")
        files = generate(CONFIGS[request.param])
    return files, json.loads(files[MANIFEST])


def test_the_core_lists_every_source_and_a_target_for_every_module(kit):
    yaml = pytest.importorskip("yaml")
    files, manifest = kit
    assert files[CORE].startswith("CAPI=2:\n")
    core = yaml.safe_load(files[CORE])
    sources = core["filesets"]["rtl"]["files"]
    assert sources == [facts["file"] for facts in manifest["components"].values()]
    assert core["filesets"]["waivers"]["files"] == ["waivers.vlt"]
    assert re.fullmatch(r"tritforge:accelerator:\w+:\d+(\.\d+)*", core["name"])
    targets = core["targets"]
    assert targets["default"]["toplevel"] == roles(manifest["components"]).top
    for module in manifest["components"]:
        assert targets[f"lint_{module}"]["toplevel"] == module
    for target in targets.values():
        assert set(target["filesets"]) <= set(core["filesets"])
    listed = {name for fileset in core["filesets"].values() for file in fileset["files"]
              for name in (file if isinstance(file, dict) else [file])}
    assert listed <= set(files)
    assert ("driver" in core["filesets"]) == ("tritforge.c" in files)


def test_the_readme_names_every_file_and_every_port(kit):
    files, manifest = kit
    text = files[README]
    for name in {*files} - {README}:
        assert text.count(f"| `{name}` |") == 1
    listed = text.split("## Files")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([\w.]+)` \|", listed, re.MULTILINE)) == {*files} - {README}
    for module, facts in manifest["components"].items():
        section = text.split(f"## Module `{module}`")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| (input|output) \| (\d+) \|", section, re.MULTILINE)
        assert rows == [(port["name"], port["direction"], str(port["width"]))
                        for port in facts["ports"]]
        for latency, cycles in facts["latencies"].items():
            assert f"`{latency}` {cycles}" in section
    assert manifest["hash"] in text
    assert "cycle " in text


def test_a_driver_comes_where_there_is_a_control_port(kit):
    files, manifest = kit
    control = roles(manifest["components"]).control
    assert (set(files) & DRIVER) == (DRIVER if control else set())
    assert ("tritforge_probe" in files[README]) == bool(control)
    if control:
        assert f"0x{manifest['hash']}ull" in files["tritforge_config.h"]


def test_the_whole_is_what_one_builds_on():
    assert roles(["ternary_array", "accelerator"]) == ("accelerator", "accelerator")
    assert roles(["ternary_array", "control_port"]) == ("ternary_array", "control_port")
    assert roles(["ternary_array"]) == ("ternary_array", "")


@pytest.mark.parametrize(("kit", "pins"), [
    ("axi_lite", ["awvalid", "arvalid"]), ("wishbone", ["stb", "ack"]),
    ("axi", ["arvalid", "rlast"])], indirect=["kit"])
def test_the_readme_draws_the_ports_that_there_are(kit, pins):
    drawn = re.findall(r"^(\w+) +[~_<=./\\\w]+$", kit[0][README], re.MULTILINE)
    assert set(pins) <= set(drawn)
