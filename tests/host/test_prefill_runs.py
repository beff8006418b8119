# SPDX-License-Identifier: Apache-2.0
"""What prompts in chunks were measured at: sound, and the same on the page."""

import json
from pathlib import Path

import pytest

from host.prefill_runs import BATCHES, PORTS, PRESET, PROMPT

DOCS = Path(__file__).parents[2] / "docs"
RECORDED = json.loads((DOCS / "results" / "prefill.json").read_text(encoding="utf-8"))["decoder"]
PAGE = (DOCS / "prefill.md").read_text(encoding="utf-8")
ROWS = {(row["beats_a_cycle"], row["batch"]): row for row in RECORDED["runs"]}


def test_every_run_is_the_golden_models():
    assert RECORDED["preset"] == PRESET
    assert list(ROWS) == [(rate, batch) for rate in PORTS for batch in BATCHES]
    for (rate, batch), row in ROWS.items():
        assert row["golden_equal"]
        assert row["cycles_equal"] is (True if rate == "1" else None)   # elsewhere: the memory's
        assert row["prompt_tokens"] == PROMPT
        assert row["chunks"] == PROMPT // batch


def test_a_batch_fetches_less_and_is_quicker_where_weights_come_slowly():
    for rate in PORTS:
        beats = [ROWS[rate, batch]["weight_beats_per_prompt_token"] for batch in BATCHES]
        assert beats == sorted(beats, reverse=True)
        assert beats == [ROWS["1", batch]["weight_beats_per_prompt_token"] for batch in BATCHES]
    slow = [ROWS["1/2", batch]["cycles_per_prompt_token"] for batch in BATCHES]
    assert slow == sorted(slow, reverse=True)


@pytest.mark.parametrize("batch", BATCHES)
def test_the_page_has_the_figures(batch):
    cells = [f"{ROWS['1', batch]['weight_beats_per_prompt_token']:,.0f}",
             *(f"{ROWS[rate, batch]['cycles_per_prompt_token']:,.0f}" for rate in PORTS)]
    assert f"| {batch} | {' | '.join(cells)} |" in PAGE
