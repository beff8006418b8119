# SPDX-License-Identifier: Apache-2.0
"""The page of figures, and the budgets that the recorded areas keep."""

import json

import pytest

from host.figures import DOCUMENT, RESULTS, render
from host.synth import UNITS, UNITS_BUDGET

BUDGET = {"xc7": 9.0, "ecp5": 10.6}
"""LUTs a MAC of the array's core at 64 lanes and 4-bit digits."""


def test_the_page_is_what_the_results_say():
    """If not: ``python -m host.figures``."""
    assert DOCUMENT.read_text(encoding="utf-8") == render()


def recorded(pattern):
    return pytest.mark.parametrize("path", sorted((RESULTS / "area").glob(pattern)),
                                   ids=lambda path: path.stem)


@recorded("array-*.json")
def test_a_recorded_area_says_how_it_was_made_and_keeps_its_budget(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["command"].startswith("tritforge synth")
    assert result["date"]
    assert result["dsp"] == result["full"]["dsp"] == 0
    if result["configuration"]["digit_bits"] == 4:
        assert result["lut_per_mac"] <= BUDGET[result["target"]]


@recorded("units-*.json")
def test_the_recorded_units_add_up_and_keep_their_budget(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["command"].startswith("tritforge synth units")
    assert result["date"]
    assert [row["design"] for row in result["units"]] == [
        name for name, unit in UNITS.items() if unit.together]
    for key in ("lut", "dsp", "registers", "block_memories"):
        assert result[key] == sum(row[key] for row in result["units"])
        assert result["with_dsp"][key] == sum(row["with_dsp"][key] for row in result["units"])
    assert result["dsp"] == 0 < result["with_dsp"]["dsp"]
    assert result["lut"] <= result["budget"] == UNITS_BUDGET
    assert result["with_dsp"]["lut"] < result["lut"]
    assert all("lut_per_mac" not in row for row in result["units"])


def test_every_recorded_area_is_of_a_kind_that_is_checked():
    names = {path.stem.split("-")[0] for path in (RESULTS / "area").glob("*.json")}
    assert names == {"array", "units"}
