# SPDX-License-Identifier: Apache-2.0
"""Spans, table and trace of what a decoder showed."""

from typing import NamedTuple

from golden_model.instruction_config import OPCODES
from host.profile import chrome_trace, profile_rows, spans_of


class Step(NamedTuple):
    cycle: int
    running: bool
    phase: int
    layer: int


def steps() -> list[Step]:
    found = []
    for start in (10, 100):
        found += [Step(start, True, 0, 0), Step(start + 5, True, OPCODES["embed"], 0),
                  Step(start + 15, True, OPCODES["attend"], 0),
                  Step(start + 45, True, OPCODES["attend"], 1), Step(start + 60, False, 0, 1)]
    return found


def test_spans_tile_every_token() -> None:
    spans = spans_of(steps())
    assert [(span.name, span.layer, span.token, span.cycles) for span in spans[:4]] == [
        ("fetch", 0, 0, 5), ("embed", 0, 0, 10), ("attend", 0, 0, 30), ("attend", 1, 0, 15)]
    assert [span.token for span in spans] == [0] * 4 + [1] * 4
    assert sum(span.cycles for span in spans) == 120


def test_the_table_adds_up() -> None:
    rows = profile_rows(spans_of(steps()))
    assert rows[0] == {"instruction": "attend", "count": 4, "cycles": 90, "cycles_per_token": 45.0,
                       "share": 0.75}
    assert sum(row["cycles"] for row in rows) == 120
    assert profile_rows([]) == []


def test_the_trace_has_every_span_and_every_token() -> None:
    trace = chrome_trace(spans_of(steps()), {"preset": "x"})
    whole = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert [event["dur"] for event in whole if event["tid"] == 1] == [60, 60]
    assert len([event for event in whole if event["tid"] == 2]) == 8
    assert trace["otherData"]["preset"] == "x"
