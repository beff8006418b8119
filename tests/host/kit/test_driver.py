# SPDX-License-Identifier: Apache-2.0
"""The C driver, compiled with every warning, against a device in C."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.instruction_config import FIELDS
from golden_model.program import Instruction
from golden_model.registers import register
from golden_model.sampling import TemperatureSampler
from host.compile.image import make_image
from host.export.c_header import c_header
from host.kit.driver import driver_files

HASH = "0123456789abcdef"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow",
            "-Wstrict-prototypes"]


def compiled(place: Path, *, change: tuple[str, str] = ("", ""), options=()) -> Path:
    """Build driver and mock in a folder; `change` is made to the driver's source."""
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    files = {**driver_files("test", HASH, 50.0), "tritforge_registers.h": c_header()}
    old, new = change
    assert not old or files["tritforge.c"].count(old) == 1
    files["tritforge.c"] = files["tritforge.c"].replace(old, new) if old else files["tritforge.c"]
    for name, text in files.items():
        (place / name).write_text(text)
    mock, flags = Path(__file__).with_name("mock_device.c"), ["gcc", "-std=c99", f"-I{place}"]
    steps = [[*flags, *WARNINGS, *options, "-c", place / "tritforge.c", "-o", place / "driver.o"],
             [*flags, *options, "-Wall", "-Wextra", "-Werror", mock, place / "driver.o", "-o",
              place / "mock"]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return place / "mock"


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False,
                          timeout=60)


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """Driver and mock, with undefined behaviour caught."""
    return compiled(tmp_path_factory.mktemp("driver"),
                    options=["-O1", "-g", "-fsanitize=undefined", "-fno-sanitize-recover"])


def test_probe_start_tokens_and_errors(program):
    done = run(program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", [8, 13, 16])
def test_an_image_is_loaded_whole_or_refused(program, tmp_path, size):
    rng = np.random.default_rng(size)
    code = [Instruction("end", dict.fromkeys(FIELDS["end"], 0))]
    image = make_image(size, HASH, "0" * 16, code, rng.integers(0, 256, (31, size), np.uint8))
    (tmp_path / "image").write_bytes(image.content)
    done = run(program, str(tmp_path / "image"))
    assert done.returncode == 0, done.stderr


def test_temperatures_give_the_words_that_the_model_computes_with(program):
    temperatures = [*np.random.default_rng(1).uniform(0.01, 4, 300).tolist(), 1.0, 0.8, 1e-9, 1e9,
                    *(369.3299304675746 / (32768.5 + n) for n in range(4))]
    found = run(program, "sampling", *map(repr, temperatures)).stdout.split()
    place = {field.name: field.low for field in register("sampling").fields}
    for temperature, word in zip(temperatures, map(int, found), strict=True):
        m, e = (int(part) for part in smallfloat.split(TemperatureSampler(temperature, 1).unit))
        assert word == (m << place["mantissa"] | (e & 255) << place["exponent"]
                        | 1 << place["enable"]), temperature
    assert run(program, "sampling", "0", "-1", "nan", "inf").stdout.split() == ["0"] * 4


@pytest.mark.parametrize("change", [
    ("last = true", "last = false"), ("place < 8 ? 0u : bytes[place]", "bytes[place]"),
    ("room > count", "room > count + 1"), ("sent < request->prompt_count", "sent == 0"),
    ("place < bytes; place += 4", "place + 3 < bytes; place += 4"),
    ("request->slot >= device->slots", "request->slot > device->slots"),
    ("!= TRITFORGE_MAP_MAJOR", "> 99"),
], ids=lambda change: change[0][:20])
def test_a_planted_bug_is_noticed(tmp_path, change):
    program = compiled(tmp_path, change=change)
    rng = np.random.default_rng(1)
    code = [Instruction("end", dict.fromkeys(FIELDS["end"], 0))]
    image = make_image(13, HASH, "0" * 16, code, rng.integers(0, 256, (31, 13), np.uint8))
    (tmp_path / "image").write_bytes(image.content)
    assert run(program).returncode or run(program, str(tmp_path / "image")).returncode


def test_the_driver_is_c_plus_plus_too(tmp_path):
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    for name, text in {**driver_files("test", HASH, 50.0),
                       "tritforge_registers.h": c_header()}.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-x",
                           "c++", "-c", tmp_path / "tritforge.c", "-o", tmp_path / "driver.o"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_header_that_starts_a_field_inside_a_byte_is_refused(monkeypatch):
    monkeypatch.setattr("host.kit.driver.HEADER", {"magic": 31, "crc": 32})
    with pytest.raises(ValueError, match="crc of the image's header starts inside a byte"):
        driver_files("test", HASH, 50.0)
