# SPDX-License-Identifier: Apache-2.0
"""The page of figures, and the budgets that the recorded areas keep."""

import json

import pytest

from host.figures import DOCUMENT, RESULTS, render

BUDGET = {"xc7": 9.0, "ecp5": 10.6}
"""LUTs a MAC of the array's core at 64 lanes and 4-bit digits."""


def test_the_page_is_what_the_results_say():
    """If not: ``python -m host.figures``."""
    assert DOCUMENT.read_text(encoding="utf-8") == render()


@pytest.mark.parametrize("path", sorted((RESULTS / "area").glob("*.json")), ids=lambda p: p.stem)
def test_a_recorded_area_says_how_it_was_made_and_keeps_its_budget(path):
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["command"].startswith("tritforge synth")
    assert result["date"]
    assert result["dsp"] == result["full"]["dsp"] == 0
    if result["configuration"]["digit_bits"] == 4:
        assert result["lut_per_mac"] <= BUDGET[result["target"]]
