# SPDX-License-Identifier: Apache-2.0
"""What prompts in chunks were measured at: sound, and the same on the page."""

import json
from pathlib import Path

import pytest

from host.prefill_runs import CHUNKS, PORTS, PRESET, PROMPT

DOCS = Path(__file__).parents[2] / "docs"
RECORDED = json.loads((DOCS / "results" / "prefill.json").read_text(encoding="utf-8"))["decoder"]
PAGE = (DOCS / "prefill.md").read_text(encoding="utf-8")
ROWS = {(row["beats_a_cycle"], row["tokens"]): row for row in RECORDED["runs"]}


def test_every_run_is_the_golden_models():
    assert (RECORDED["preset"], RECORDED["batch"]) == (PRESET, max(CHUNKS))
    assert list(ROWS) == [(rate, tokens) for rate in PORTS for tokens in CHUNKS]
    for (rate, _), row in ROWS.items():
        assert row["golden_equal"]
        assert row["cycles_equal"] is (True if rate == "1" else None)   # elsewhere: the memory's
        assert row["prompt_tokens"] == PROMPT


def test_chunks_fetch_less_and_are_quicker_where_weights_come_slowly():
    for rate in PORTS:
        beats = [ROWS[rate, tokens]["weight_beats_per_prompt_token"] for tokens in CHUNKS]
        assert beats == sorted(beats, reverse=True)
        assert beats == [ROWS["1", tokens]["weight_beats_per_prompt_token"] for tokens in CHUNKS]
    alone, *chunks = (ROWS["1/2", tokens]["cycles_per_prompt_token"] for tokens in CHUNKS)
    # Two tokens make up for half a beat a cycle: with more the array is the bound.
    assert max(chunks) < 0.75 * alone


@pytest.mark.parametrize("tokens", CHUNKS)
def test_the_page_has_the_figures(tokens):
    cells = [f"{ROWS['1', tokens]['weight_beats_per_prompt_token']:,.0f}",
             *(f"{ROWS[rate, tokens]['cycles_per_prompt_token']:,.0f}" for rate in PORTS)]
    assert f"| {tokens} | {' | '.join(cells)} |" in PAGE
