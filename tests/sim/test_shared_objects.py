# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from sim.shared_objects import shared_objects


def build(place, directory, *key, text):
    """Compile as make does: only what is not there.  Return what the object holds."""
    with shared_objects(place, directory, *key):
        for name in ("verilated.o", "design.o"):
            path = directory / name
            if not path.exists():
                path.write_text(text)
    return (directory / "verilated.o").read_text()


def test_a_second_build_finds_the_objects_of_the_first(tmp_path):
    assert build(tmp_path, tmp_path / "a", "5.40", ["-O0"], text="first") == "first"
    assert build(tmp_path, tmp_path / "b", "5.40", ["-O0"], text="second") == "first"
    assert (tmp_path / "b" / "verilated.o").stat().st_mtime > time.time() + 600
    assert (tmp_path / "b" / "design.o").read_text() == "second"


@pytest.mark.parametrize("key", [("5.42", ["-O0"]), ("5.40", ["-O1"])])
def test_other_versions_and_options_have_their_own(tmp_path, key):
    build(tmp_path, tmp_path / "a", "5.40", ["-O0"], text="first")
    assert build(tmp_path, tmp_path / "b", *key, text="second") == "second"


def test_a_build_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        build(tmp_path, tmp_path / "a", "5.40", text=None)
    assert build(tmp_path, tmp_path / "b", "5.40", text="whole") == "whole"
