# SPDX-License-Identifier: Apache-2.0
"""The figures of the gated feed-forward block: what is on record, and that it is checked."""

import json
from pathlib import Path

import pytest

from golden_model.presets import preset
from host import ffn_table
from host.errors import CheckFailedError
from host.ffn_table import MEASURED, PAPER_SHARES, document

RECORDED = sorted((Path(__file__).parents[2] / "docs" / "results" / "ffn").glob("*.json"))


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_preset_is_on_record():
    assert [path.stem for path in RECORDED] == sorted(MEASURED)


def test_what_is_on_record_is_what_is_computed():
    """If not, because the demo model is another: ``python -m host.ffn_table --record`` for each."""
    recorded = load(next(path for path in RECORDED if path.stem == "ulx3s"))
    computed = document(preset("ulx3s"), recorded["tokens"], tried=())
    for key in ("rows", "lanes", "up_width", "down_width", "projections", "ffn"):
        assert computed[key] == recorded[key]
    assert all(row in recorded["widths"] for row in computed["widths"])


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_wo_and_wdown_are_never_longer_than_the_dense_products(path):
    result = load(path)
    dense = result["widths"][0]["dense_cycles"]
    rows = {row["projection"]: row for row in result["projections"]}
    assert rows["wo"]["cycles"] + rows["down"]["cycles"] <= dense
    assert rows["wo"]["share"] <= PAPER_SHARES["wo"]
    assert sum(result["ffn"]["phases"].values()) == pytest.approx(result["ffn"]["cycles"])


def test_a_block_that_differs_from_the_decoder_is_refused(monkeypatch):
    real = ffn_table.gated_ffn

    def wrong(config, vector):
        result = real(config, vector)
        return result._replace(sums=result.sums + 1)

    monkeypatch.setattr(ffn_table, "gated_ffn", wrong)
    with pytest.raises(CheckFailedError, match="layer 0 of token 32 differs from the decoder"):
        document(preset("tiny"), 1, tried=())


def test_the_command_prints_one_document(capsys):
    ffn_table.main(["--preset", "ulx3s", "--tokens", "1"])
    assert json.loads(capsys.readouterr().out)["tokens"] == 1
