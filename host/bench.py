# SPDX-License-Identifier: Apache-2.0
"""Tokens a second of a backend: reading a prompt, and generating one token after the other."""

import csv
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from golden_model.weights import DecoderWeights
from host.backends.base import Backend
from host.errors import UserError

__all__ = ["COLUMNS", "Row", "as_csv", "as_markdown", "measure"]

SEED = 1
MOST_RUNS = 1000


@dataclass(frozen=True)
class Row:
    """One test of one backend; rates are tokens a second."""

    model: str
    parameters: int
    """Ternary weights and embedding."""
    backend: str
    test: str
    """``ppN``: N tokens read at once; ``tgN``: N tokens generated singly."""
    median: float
    slowest: float
    fastest: float
    runs: int
    cycles: float | None = None
    """Clock cycles a token of the simulated hardware, the median."""


COLUMNS = tuple(Row.__dataclass_fields__)


def _rate(run: Callable[[], None], tokens: int) -> float:
    start = time.perf_counter()
    run()
    return tokens / (time.perf_counter() - start)


def measure(model: str, weights: DecoderWeights, backend: Backend, prompt: int, generate: int,
            runs: int, window: int | None = None,
            progress: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Time a loaded model; a first run of each test does not count.

    Parameters
    ----------
    prompt, generate
        Tokens of the two tests; 0 leaves one out.
    runs
        Runs of each test.
    window
        Tokens in the KV cache; the context unless given.

    Raises
    ------
    UserError
        A number is out of range, or there is nothing to do.
    """
    shape = weights.shape
    for name, value, least, most in (("--prompt", prompt, 0, shape.context),
                                     ("--generate", generate, 0, shape.context - 1),
                                     ("--runs", runs, 1, MOST_RUNS)):
        if not least <= value <= most:
            raise UserError(f"{name} must lie in {least}..{most}, not {value}")
    if not prompt and not generate:
        raise UserError("--prompt and --generate are both 0: there is nothing to measure")
    backend.load(weights, shape.context if window is None else window)
    tokens = np.random.default_rng(SEED).integers(0, shape.vocab, shape.context).tolist()

    def begin() -> None:
        backend.reset()
        backend.prefill(tokens[:1])

    def decode() -> None:
        for token in tokens[1:generate + 1]:
            backend.decode(token)

    tests: list[tuple[str, int, Callable[[], None], Callable[[], None]]] = []
    if prompt:
        tests.append((f"pp{prompt}", prompt, lambda: _ignore(backend.prefill(tokens[:prompt])),
                      backend.reset))
    if generate:
        tests.append((f"tg{generate}", generate, decode, begin))
    rows = []
    for name, count, run, prepare in tests:
        progress(f"{backend.name} {name}")
        rates, cycles = [], []
        for _ in range(runs + 1):
            prepare()
            before = _cycles(backend)
            rates.append(_rate(run, count))
            cycles.append((_cycles(backend) - before) / count)
        rates = rates[1:]
        rows.append(Row(model, shape.ternary_parameters + shape.vocab * shape.hidden, backend.name,
                        name, statistics.median(rates), min(rates), max(rates), runs,
                        statistics.median(cycles[1:]) or None))
    return rows


def _cycles(backend: Backend) -> int:
    """Clock cycles of the simulated hardware; 0 on any other."""
    return backend.counters().get("simulated_cycles", 0)


def _ignore(_: int) -> None:
    """Drop a token."""


def _cells(row: Row) -> list[str]:
    rates = [f"{rate:.2f}" for rate in (row.median, row.slowest, row.fastest)]
    model = row.model.replace("|", "\\|")
    cycles = "" if row.cycles is None else f"{row.cycles:.0f}"
    return [model, str(row.parameters), row.backend, row.test, *rates, str(row.runs), cycles]


def as_csv(rows: Sequence[Row]) -> str:
    """Rows with full precision, a header first."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return out.getvalue()


def as_markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = [list(COLUMNS), ["---"] * 4 + ["---:"] * 5, *(_cells(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
