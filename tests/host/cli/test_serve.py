# SPDX-License-Identifier: Apache-2.0
"""A device behind a pseudo-terminal, and the command that generates over it."""

import subprocess
import sys
from contextlib import contextmanager

import pytest


@contextmanager
def served(*arguments):
    """Run ``tritforge serve``; give its terminal."""
    with subprocess.Popen([sys.executable, "-m", "host.cli", "serve", *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process.stdout.readline().partition(":")[0]
        finally:
            process.terminate()


def test_the_demo_model_goes_over_the_line_and_writes_text(tritforge):
    with served("--preset", "ulx3s") as port:
        run = tritforge("generate", "In the", "--backend", f"serial:{port}", "-n", "5",
                        "--preset", "ulx3s", "--json")
        assert run.code == 0, run.err
        assert run.document["backend"] == "serial"
        assert run.document["golden_equal"] is True
        assert run.document["notices"] == []
        other = tritforge("generate", "In the", "--backend", "serial", "--port", port, "-n", "5",
                          "--preset", "tiny")
        assert other.code == 2
        assert "the model" in other.err or "built for another" in other.err


def test_a_modelled_array_computes_the_products_of_a_text(tritforge):
    with served("--backend", "array-model", "--preset", "icebreaker") as port:
        run = tritforge("generate", "In", "--backend", "array", "--port", port, "-n", "1",
                        "--preset", "icebreaker", "--canary", "0", "--json")
    assert run.code == 0, run.err
    assert (run.document["backend"], run.document["golden_equal"]) == ("array", True)


@pytest.mark.parametrize(("arguments", "message"), [
    (("--backend", "gpu"), "cpu, sim, array, array-model"),
    (("--preset", "icebreaker"), "icebreaker is no whole accelerator"),
    (("--preset", "tiny", "-c", "units.max_ffn=256"), "the model's ffn is 384"),
    (("--model", "none"), "No such")])
def test_what_cannot_be_served(tritforge, arguments, message):
    run = tritforge("serve", "--seconds", "0", *arguments)
    assert run.code == 2
    assert message in run.err
