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


def test_document_without_marks_is_refused(tmp_path):
    document = tmp_path / "model.md"
    document.write_text("nothing\n")
    with pytest.raises(ValueError, match="lacks the marks"):
        report.tables(ROOT / "docs/results/model.json", document)
