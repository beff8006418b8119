# SPDX-License-Identifier: Apache-2.0
"""Where the cycles of a token go: a table, and a trace for a browser."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from golden_model.instruction_config import OPCODES

__all__ = ["Span", "chrome_trace", "profile_rows", "spans_of"]

NAMES = {code: name for name, code in OPCODES.items()}


class Span(NamedTuple):
    """One instruction of one token."""

    name: str
    layer: int
    token: int
    """Number of the token in the trace."""
    first: int
    """Cycle."""
    cycles: int


def spans_of(steps: Sequence[Any]) -> list[Span]:
    """Instructions from what the decoder showed.

    Parameters
    ----------
    steps
        :class:`sim.system.Step`, in order; one for each change.
    """
    spans: list[Span] = []
    token = -1
    for now, after in pairwise(steps):
        if now.running and (not spans or now.cycle != spans[-1].first + spans[-1].cycles):
            token += 1
        if not now.running:
            continue
        name = NAMES.get(now.phase, str(now.phase)) if now.phase else "fetch"
        spans.append(Span(name, now.layer, max(token, 0), now.cycle, after.cycle - now.cycle))
    return spans


def chrome_trace(spans: Sequence[Span], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Trace events for ``chrome://tracing`` and Perfetto; a microsecond stands for a cycle."""
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "accelerator"}},
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "token"}},
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 2, "args": {"name": "instruction"}}]
    ends: dict[int, tuple[int, int]] = {}
    for span in spans:
        first, _ = ends.get(span.token, (span.first, 0))
        ends[span.token] = first, span.first + span.cycles
        events.append({"name": span.name, "ph": "X", "pid": 1, "tid": 2, "ts": span.first,
                       "dur": span.cycles, "args": {"layer": span.layer, "token": span.token,
                                                    "cycles": span.cycles}})
    events += [{"name": f"token {token}", "ph": "X", "pid": 1, "tid": 1, "ts": first,
                "dur": end - first, "args": {"cycles": end - first}}
               for token, (first, end) in ends.items()]
    return {"traceEvents": events, "displayTimeUnit": "ms",
            "otherData": {"unit": "1 us is 1 clock cycle", **facts}}


def profile_rows(spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Cycles of each kind of instruction, the dearest first, with their share."""
    total = sum(span.cycles for span in spans) or 1
    tokens = len({span.token for span in spans}) or 1
    names = dict.fromkeys(span.name for span in spans)
    rows = [{"instruction": name, "count": sum(span.name == name for span in spans),
             "cycles": (cycles := sum(span.cycles for span in spans if span.name == name)),
             "cycles_per_token": round(cycles / tokens, 1), "share": round(cycles / total, 4)}
            for name in names]
    return sorted(rows, key=lambda row: -int(str(row["cycles"])))
