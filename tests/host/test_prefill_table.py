# SPDX-License-Identifier: Apache-2.0
"""The figures of prefill in batches: what is on record, and that the page has the same."""

import json
from pathlib import Path

import pytest

from host import prefill_table
from host.prefill_table import beats_per_token, cycles_per_token
from host.token_report import SHAPES

DOCS = Path(__file__).parents[2] / "docs"
RECORDED = json.loads((DOCS / "results" / "prefill.json").read_text(encoding="utf-8"))
PAGE = " ".join((DOCS / "decisions" / "0007-batched-prefill.md").read_text("utf-8").split())


def test_what_is_on_record_is_what_is_computed():
    for key, value in prefill_table.document().items():
        assert RECORDED[key] == value


def test_the_page_has_the_products():
    for row in RECORDED["products"]:
        cells = (f"{row['product']}, {row['m']} x {row['k']}", f"{row['beats']:,}",
                 *(f"{row['cycles'][tokens]:,}" for tokens in ("1", "4")))
        assert f"| {' | '.join(cells)} |" in PAGE


def test_the_page_has_what_a_batch_is_worth():
    rows = RECORDED["shapes"]["2B4T"]
    two, three, four = (f"{row['beats']:.2f}" for row in rows)
    assert f"{two} of one token's with B = 2, {three} with 3 and {four} with 4" in PAGE
    assert ", ".join(f"{row['beats_apart']:.2f}" for row in rows) in PAGE
    assert ", ".join(f"{row['beats']:.2f}" for row in RECORDED["shapes"]["demo"]) in PAGE
    for rate in prefill_table.RATES:
        line = next(line for line in PAGE.split("| |") if line.strip().startswith(f"{rate}:"))
        assert [float(cell) for cell in line.split("|")[1:4]] == [
            round(row["cycles"][rate], 2) for row in rows]


def test_the_page_has_the_areas():
    for kind, name in (("lut", "LUT4"), ("registers", "registers")):
        counts = ", ".join(f"{row[kind]:,}" for row in RECORDED["area"]["arrays"])
        assert f"{counts} {name}" in PAGE


def test_bounds_of_what_is_shared():
    shape = SHAPES["2B4T"][0]
    assert beats_per_token(shape, 1) == 1
    assert 1 / 4 < beats_per_token(shape, 4) < beats_per_token(shape, 4, apart=True) < 1
    # Dense products fall by the batch; what no two tokens share does not.
    sizes = {name: m * k for name, (m, k) in shape.projections.items()}
    dense = sizes["wq"] + sizes["wk"] + sizes["wv"] + sizes["gate"]
    sparse = 0.5 * sizes["wo"] + 0.286 * sizes["up"] + 0.158 * sizes["down"]
    assert beats_per_token(shape, 2, apart=True) == pytest.approx(
        (dense / 2 + sparse) / (dense + sparse))


@pytest.mark.parametrize(("beats", "rate", "cycles"), [
    (0.6, 1.0, 1.0), (0.6, 0.75, 0.75), (0.6, 0.5, 0.6), (0.4, 0.5, 0.5), (0.4, 0.25, 0.4)])
def test_compute_and_fetch_bound_each_other(beats, rate, cycles):
    assert cycles_per_token(beats, rate) == pytest.approx(cycles)


def test_the_command_prints_one_document(capsys):
    prefill_table.main([])
    assert json.loads(capsys.readouterr().out) == prefill_table.document()
