# SPDX-License-Identifier: Apache-2.0
"""The figures of attention's cycles: what is on record, and that the page shows it."""

import json
from pathlib import Path

import pytest

from host import attention_table
from host.attention_table import HEAD_DIMS, MEASURED, ROWS, entry, markdown

DOCS = Path(__file__).parents[2] / "docs"
RECORDED = json.loads((DOCS / "results" / "attention" / "cycles.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", range(len(MEASURED)))
def test_what_is_on_record_is_what_is_computed(number):
    """If not: ``python -m host.attention_table > docs/results/attention/cycles.json``."""
    for head_dim, rows in ((32, 16), (64, 64)):
        assert entry(*MEASURED[number], head_dim, rows) in RECORDED["commands"]


def test_the_page_shows_what_is_on_record():
    """If not: ``python -m host.attention_table --markdown`` prints the table."""
    page = (DOCS / "attention.md").read_text(encoding="utf-8")
    assert markdown(RECORDED["commands"]) in page


def test_a_head_that_does_not_fill_its_beats_is_left_out(monkeypatch):
    assert {each["head_dim"] for each in RECORDED["commands"]} == set(HEAD_DIMS)
    monkeypatch.setattr(attention_table, "HEAD_DIMS", (30, 32))  # four words a beat
    monkeypatch.setattr(attention_table, "ROWS", ROWS[:1])
    assert {each["head_dim"] for each in attention_table.document()["commands"]} == {32}


def test_the_command_prints_the_document_or_the_table(capsys, monkeypatch):
    monkeypatch.setattr(attention_table, "MEASURED", MEASURED[:1])
    monkeypatch.setattr(attention_table, "HEAD_DIMS", (32,))
    monkeypatch.setattr(attention_table, "ROWS", ROWS[:1])
    attention_table.main([])
    assert json.loads(capsys.readouterr().out)["commands"][0]["rows"] == 16
    attention_table.main(["--markdown"])
    assert capsys.readouterr().out.startswith("| | head_dim | 16 rows |")
