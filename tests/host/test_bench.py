# SPDX-License-Identifier: Apache-2.0
"""Rates: what is counted, what is left out, and the forms in which they are shown."""

import csv
import io

import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.weights import random_weights
from host import bench
from host.backends.cpu import CpuBackend
from host.errors import UserError

SHAPE = ModelShape(vocab=9, hidden=8, ffn=10, layers=1, heads=2, kv_heads=1, head_dim=4, context=20)
WEIGHTS = random_weights(SHAPE, Numerics(), 1)


class Clocked(CpuBackend):
    """Takes a known time for every token, and longer each time that it begins anew."""

    name = "clocked"

    def __init__(self, clock):
        super().__init__()
        self.clock, self.begun, self.read = clock, 0, []

    def reset(self):
        super().reset()
        self.begun += 1

    def prefill(self, tokens, *sampling):
        self.clock[0] += len(tokens) * self.begun
        self.read.append(len(tokens))
        return super().prefill(tokens, *sampling)


@pytest.fixture
def backend(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])
    return Clocked(clock)


def test_rates_are_tokens_over_time_without_the_first_run(backend):
    rows = bench.measure("m", WEIGHTS, backend, prompt=8, generate=4, runs=3)
    # Loading begins once; then each run begins anew: seconds a token 2 (left out), 3, 4, 5.
    assert [(row.test, row.runs, row.backend) for row in rows] == [
        ("pp8", 3, "clocked"), ("tg4", 3, "clocked")]
    assert (rows[0].median, rows[0].slowest, rows[0].fastest) == (1 / 4, 1 / 5, 1 / 3)
    assert (rows[1].median, rows[1].slowest, rows[1].fastest) == (1 / 8, 1 / 9, 1 / 7)
    assert backend.read == [8] * 4 + [1, 1, 1, 1, 1] * 4
    assert rows[0].parameters == SHAPE.ternary_parameters + 72


def test_simulated_hardware_shows_its_cycles(backend):
    count = backend.counters
    backend.counters = lambda: count() | {"simulated_cycles": 100 * count()["tokens"]}
    rows = bench.measure("m", WEIGHTS, backend, prompt=8, generate=4, runs=3)
    assert [row.cycles for row in rows] == [100, 100]
    assert bench.as_markdown(rows).splitlines()[2].endswith("| 3 | 100 |")


def test_one_test_may_be_left_out(backend):
    assert [row.test for row in bench.measure("m", WEIGHTS, backend, 0, 3, 1)] == ["tg3"]
    assert [row.test for row in bench.measure("m", WEIGHTS, backend, 20, 0, 1)] == ["pp20"]


@pytest.mark.parametrize(("prompt", "generate", "runs", "message"), [
    (21, 1, 1, r"--prompt must lie in 0..20"), (1, 20, 1, r"--generate must lie in 0..19"),
    (-1, 1, 1, "--prompt"), (1, 1, 0, "--runs"), (0, 0, 1, "nothing to measure"),
])
def test_what_cannot_be_measured(backend, prompt, generate, runs, message):
    with pytest.raises(UserError, match=message):
        bench.measure("m", WEIGHTS, backend, prompt, generate, runs)


def test_forms(backend):
    rows = bench.measure("m|x, y", WEIGHTS, backend, 8, 4, 2)
    read = list(csv.DictReader(io.StringIO(bench.as_csv(rows))))
    assert [float(row["median"]) for row in read] == [row.median for row in rows]
    assert read[0]["model"] == "m|x, y"
    lines = bench.as_markdown(rows[1:]).splitlines()
    assert lines[0].startswith("| model | parameters | backend | test | median |")
    assert lines[2].startswith(r"| m\|x, y | ")
    assert len(lines) == 3


def test_the_command(tritforge):
    run = tritforge("bench", "--backend", "cpu", "-p", "4", "-n", "2", "-r", "1", "--json")
    assert run.code == 0, run.err
    assert [row["test"] for row in run.document["rows"]] == ["pp4", "tg2"]
    assert run.document["backends"] == ["cpu: first choice"]
    assert run.document["rows"][0]["cycles"] is None
    run = tritforge("bench", "-p", "0", "-n", "1", "-r", "1", "--format", "md")
    assert run.out.startswith("| model |")
    for arguments, words in ((["--backend", "tpu"], "auto, sim, gpu, cpu"),
                             (["--model", "none"], "No such"),
                             (["--format", "xml"], "table, md"), (["-p", "9999"], "context of 256"),
                             (["--backend", "serial", "--port", "none"], "No such file")):
        run = tritforge("bench", *arguments)
        assert run.code == 2, arguments
        assert words in run.err
