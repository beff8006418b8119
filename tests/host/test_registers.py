# SPDX-License-Identifier: Apache-2.0
import json
import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from golden_model.bus.register_file import Access, RegisterFile
from golden_model.bus_config import RegisterFileConfig
from golden_model.registers import COUNTERS, REGISTERS, register
from host.export import FORMATS
from host.registers import DeviceError, Registers

CONFIG = RegisterFileConfig(config_hash="00000001deadbeef")


class ModelBus:
    """The golden register file as a device."""

    def __init__(self):
        self.model = RegisterFile(CONFIG)
        self.inputs = {}

    def access(self, access):
        self.model.step(access, **self.inputs)
        response = self.model.response
        self.model.step(None, response_taken=True)
        assert not response.error
        return response.data

    def read(self, offset):
        return self.access(Access(offset))

    def write(self, offset, word):
        self.access(Access(offset, True, word))


@pytest.fixture
def device():
    return ModelBus()


def test_svd_holds_the_table():
    root = ElementTree.fromstring(FORMATS["svd"][1]())
    assert root.tag == "device"
    found = {one.findtext("name"): one for one in root.iter("register")}
    assert list(found) == [one.name.upper() for one in REGISTERS]
    for one in REGISTERS:
        element = found[one.name.upper()]
        assert int(element.findtext("addressOffset"), 0) == one.offset
        assert int(element.findtext("resetValue"), 0) == one.reset
        assert (element.findtext("modifiedWriteValues") == "oneToClear") == (one.access == "w1c")
        assert (element.findtext("readAction") == "modify") == (one.kind in ("pop", "counter"))
        assert [(field.findtext("name"), int(field.findtext("bitOffset")),
                 int(field.findtext("bitWidth"))) for field in element.iter("field")] \
            == [(field.name.upper(), field.low, field.bits) for field in one.fields]


def test_svd_elements_are_in_the_order_of_the_schema():
    """The schema's sequence; tools that validate refuse any other."""
    order = ["name", "description", "addressOffset", "size", "access", "resetValue",
             "modifiedWriteValues", "readAction", "fields"]
    for element in ElementTree.fromstring(FORMATS["svd"][1]()).iter("register"):
        places = [order.index(child.tag) for child in element]
        assert places == sorted(places)
    device = [child.tag for child in ElementTree.fromstring(FORMATS["svd"][1]())]
    assert device == ["name", "version", "description", "addressUnitBits", "width", "size",
                      "resetValue", "resetMask", "peripherals"]


def c_checks():
    """Statements that fail to compile where header and table differ."""
    for one in REGISTERS:
        name = one.name.upper()
        yield f"CHECK(offsetof(tritforge_registers, {one.name}) == {one.offset});"
        yield f"CHECK(TRITFORGE_{name} == {one.offset});"
        for field in one.fields:
            yield f"CHECK(TRITFORGE_{name}_{field.name.upper()}_MASK == {field.mask}u);"


@pytest.mark.parametrize(("compiler", "standard", "suffix"), [
    ("gcc", "c99", "c"), ("g++", "c++11", "cpp")])
def test_the_header_compiles_and_says_what_the_table_says(tmp_path, compiler, standard, suffix):
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    (tmp_path / "tritforge_registers.h").write_text(FORMATS["c"][1]())
    source = tmp_path / f"main.{suffix}"
    source.write_text("\n".join([
        *2 * ['#include "tritforge_registers.h"'], "#include <stddef.h>",
        "#define CHECK(x) extern char check[(x) ? 1 : -1]", *c_checks(),
        "int main(void) {", "  uint32_t words[2] = {7, 1};",
        "  uint32_t word = TRITFORGE_SET(STATUS_PHASE, 0x5a);",
        "  return TRITFORGE_GET(word, STATUS_PHASE) != 0x5a",
        "    || tritforge_count(words) != 0x100000007ULL;", "}", ""]))
    program = tmp_path / "main"
    built = subprocess.run([compiler, f"-std={standard}", "-Wall", "-Wextra", "-Werror",
                            "-pedantic", "-o", program, source], capture_output=True, text=True,
                           check=False)
    assert built.returncode == 0, built.stderr
    assert subprocess.run([program], check=False).returncode == 0


def test_the_page_is_whole_and_needs_nothing_else():
    page = FORMATS["html"][1]()
    assert not re.search(r"(?:src|href)=\"(?!#)", page)
    for one in REGISTERS:
        assert f'id="{one.name}"' in page
        assert f'href="#{one.name}"' in page
    assert page.count("<tr>") == page.count("</tr>")
    for tag in ("table", "tbody", "p", "h2", "code", "td"):
        assert len(re.findall(f"<{tag}[ >]", page)) == page.count(f"</{tag}>")


def test_json_holds_the_table():
    document = json.loads(FORMATS["json"][1]())
    assert [one["offset"] for one in document["registers"]] == [one.offset for one in REGISTERS]


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_writes_each_format(tritforge, tmp_path, form):
    run = tritforge("registers", "--format", form, "--out", "a b/x")
    assert (run.code, run.out) == (0, "")
    assert (tmp_path / "a b" / "x").read_text() == FORMATS[form][1]()
    assert [path.name for path in (tmp_path / "a b").iterdir()] == ["x"]
    assert tritforge("registers", "--format", form, "--out", "a b/x").code == 2
    assert tritforge("registers", "--format", form, "--out", "a b/x", "--force").code == 0


def test_the_command_prints(tritforge):
    assert "generated_token" in tritforge("registers").out
    assert tritforge("registers", "--json").document["name"] == "tritforge"


@pytest.mark.parametrize(("arguments", "message"), [
    (["--format", "svg"], "did you mean 'svd'"), (["--out", "x"], "needs a --format"),
    (["--format", "c", "--json"], "give one of them"),
    (["--format", "c", "--out", "."], "is a directory")])
def test_the_command_refuses(tritforge, tmp_path, arguments, message):
    run = tritforge("registers", *arguments)
    assert run.code == 2
    assert message in run.out + run.err
    assert list(tmp_path.iterdir()) == []


def test_identity(device):
    registers = Registers(device)
    registers.check_identity()
    registers.check_identity("00000001deadbeef")
    with pytest.raises(DeviceError, match="image needs 0000000000000000"):
        registers.check_identity("0" * 16)


@pytest.mark.parametrize(("offset", "word", "message"), [
    (0x000, 0xFFFF_FFFF, "no accelerator answers"), (0x004, 2 << 16, "register table 2.0")])
def test_another_device_is_refused(device, monkeypatch, offset, word, message):
    read = device.read
    monkeypatch.setattr(device, "read", lambda at: word if at == offset else read(at))
    with pytest.raises(DeviceError, match=message):
        Registers(device).check_identity()


def test_fields_and_settings(device):
    registers = Registers(device)
    registers.write("sampling", mantissa=0x8001, exponent=0xF0, enable=1)
    assert registers.read("sampling") == {"mantissa": 0x8001, "exponent": 0xF0, "enable": 1}
    registers.write64("image_base_low", "image_base_high", 0x12_3456_7000)
    assert registers.read64("image_base_low", "image_base_high") == 0x12_3456_7000
    device.inputs = {"status": {"status": 0x0005_0A12}}
    assert registers.read("status") | {"phase": 0x0A, "layer": 5, "running": 1} \
        == registers.read("status")


def test_errors_are_named_and_cleared(device):
    registers = Registers(device)
    assert registers.read("generated_token")["valid"] == 0
    assert registers.errors() == ["generated_underflow"]
    registers.clear_errors()
    assert registers.errors() == []


def test_counters(device):
    device.model.counters["count_tokens"] = 5 << 32 | 3
    counters = Registers(device).counters()
    assert counters["tokens"] == 5 << 32 | 3
    assert list(counters) == [name for name, _ in COUNTERS]


def test_waiting_has_a_deadline(device):
    now = [0.0]

    def pause(seconds):
        now[0] += seconds

    registers = Registers(device, clock=lambda: now[0], pause=pause)
    device.inputs = {"status": {"status": 1}, "report": {"errors": 1 << 4}}
    registers.wait_for("status", "idle", 1, seconds=0)
    with pytest.raises(DeviceError, match=r"status.idle is 1, not 0, after 2 s; errors: watchdog"):
        registers.wait_for("status", "idle", 0, seconds=2)
    assert 2 < now[0] < 2.1


@pytest.mark.parametrize(("call", "error"), [
    (lambda one: one.read("none"), KeyError), (lambda one: one.read("control"), ValueError),
    (lambda one: one.write("status", idle=1), ValueError),
    (lambda one: one.write("seed", word=1), KeyError),
    (lambda one: one.write("kv_slot", slot=4096), ValueError),
    (lambda one: one.write64("image_base_low", "image_base_high", 1 << 64), ValueError)])
def test_misuse_is_refused_before_it_reaches_the_device(device, call, error):
    with pytest.raises(error, match=r"."):
        call(Registers(device))
    assert device.model.words["kv_slot"] == register("kv_slot").reset
