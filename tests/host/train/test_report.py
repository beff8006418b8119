# SPDX-License-Identifier: Apache-2.0
"""Figures merge without losing others' keys, and the tables in the documentation are theirs."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
report = pytest.importorskip("host.train.report")

ROOT = Path(__file__).parents[3]


def test_merge_keeps_what_others_wrote(tmp_path):
    path = tmp_path / "model.json"
    report.merge_json(path, {"runs": {"a48_exact": {"perplexity": 2.0}}, "zeros": {"up": 0.1}})
    report.merge_json(path, {"runs": {"a48": {"perplexity": 1.5}}, "zeros": {"up": 0.2}})
    assert json.loads(path.read_text()) == {
        "runs": {"a48_exact": {"perplexity": 2.0}, "a48": {"perplexity": 1.5}},
        "zeros": {"up": 0.2}}


def test_documented_tables_are_rendered_from_the_figures(tmp_path):
    document = tmp_path / "model.md"
    document.write_text((ROOT / "docs/model.md").read_text())
    report.tables(ROOT / "docs/results/model.json", document)
    assert document.read_text() == (ROOT / "docs/model.md").read_text()


def test_exact_attention_stays_within_half_a_percent_of_float():
    runs = json.loads((ROOT / "docs/results/model.json").read_text())["runs"]
    exact = {row: run for row, run in runs.items() if "float_row" in run}
    assert set(exact) >= {"a48_exact", "a48_exact_kv3_q8"}
    for run in exact.values():
        percent = 100 * (run["perplexity"] / runs[run["float_row"]]["perplexity"] - 1)
        assert percent == pytest.approx(run["against_float_percent"], abs=0.002)
        assert abs(percent) <= 0.5
    sides = [runs[row] for row in ("a48", "a48_kv4", "a48_kv3")]
    assert [run["scheme"]["kv_bits"] for run in sides] == [16, 4, 3]
    assert len({run["run"] for run in sides}) == 1


def test_document_without_marks_is_refused(tmp_path):
    document = tmp_path / "model.md"
    document.write_text("nothing\n")
    with pytest.raises(ValueError, match="lacks the marks"):
        report.tables(ROOT / "docs/results/model.json", document)
