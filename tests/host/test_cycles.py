# SPDX-License-Identifier: Apache-2.0
"""``tritforge cycles``, and the figures of it that are on record."""

import json
from pathlib import Path

import pytest

RECORDED = sorted((Path(__file__).parents[2] / "docs" / "results" / "cycles").glob("*.json"))


def test_one_model_as_json(tritforge):
    run = tritforge("cycles", "--preset", "ulx3s", "--model", "demo", "--json")
    assert (run.code, run.err) == (0, "")
    rows = {row["layer"]: row for row in json.loads(run.out)["layers"]}
    assert rows["down"]["cycles"] == 128 // 2 * (384 // 64) * 2
    assert rows["down"]["busy"] == 1


def test_an_unknown_model_is_refused(tritforge):
    run = tritforge("cycles", "--model", "2b4")
    assert run.code == 2
    assert "did you mean '2B4T'" in run.err or "there are: demo" in run.err


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_what_is_on_record_is_what_the_command_says(tritforge, path):
    recorded = json.loads(path.read_text())
    run = tritforge(*recorded["command"].split()[1:], "--json")
    assert run.code == 0, run.err
    assert json.loads(run.out).items() <= recorded.items()


def test_the_array_is_busy_on_every_layer_on_record():
    for path in RECORDED:
        assert json.loads(path.read_text())["least_busy"] >= 0.98
    assert len(RECORDED) >= 2
