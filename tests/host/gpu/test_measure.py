# SPDX-License-Identifier: Apache-2.0
"""What is recorded of the GPU's products, and that it says what it must."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from host.gpu import measure
from host.gpu.runtime import absence
from host.gpu.timing import spread

RESULTS = Path(__file__).parents[3] / "docs" / "results" / "gpu" / "products.json"


@pytest.fixture(scope="module")
def recorded():
    return json.loads(RESULTS.read_text())


def test_the_median_stands_between_the_extremes():
    assert spread([3.0, 1.0, 2.0, 9.0]) == (2.5, 1.0, 9.0)


def test_the_shapes_are_those_of_the_models():
    shapes = list(measure.shapes())
    assert len(shapes) == 4 * len(measure.MODELS)
    assert shapes[:4] == [(4608, 1536), (1536, 1536), (8192, 1536), (1536, 4096)]
    assert set(measure.PUBLISHED) <= set(shapes)


def test_every_row_has_its_figures(recorded):
    for row in recorded["rows"]:
        assert set(row) == set(measure.Row.__dataclass_fields__)
        assert 0 < row["cold_least"] <= row["cold_us"] <= row["cold_most"]
        assert row["warm_us"] > 0
        assert row["cycles"] == pytest.approx(row["cold_us"] * recorded["clock_mhz"], rel=1e-3)
        floor = 1e6 * row["bytes"] / recorded["method"]["roofline_bytes_per_s"]
        assert row["roofline_share"] == pytest.approx(floor / row["cold_us"])


def test_the_record_names_its_circumstances(recorded):
    assert recorded["device"]["name"].startswith("NVIDIA H100")
    assert recorded["driver"]
    assert recorded["clock_mhz"] > 1000
    assert {"tritforge", "cuda-bindings", "numpy"} <= set(recorded["versions"])
    assert recorded["method"]["launches"] == 100
    assert recorded["method"]["cold_bytes"] >= 220_000_000
    assert 0 < recorded["method"]["dependent_empty_us"] < recorded["method"]["empty_us"]


def test_every_shape_was_measured_beside_cublas(recorded):
    for kernel in ("rows", "cublas-bf16"):
        measured = {(row["n"], row["k"]) for row in recorded["rows"] if row["kernel"] == kernel}
        assert set(measure.shapes()) <= measured


def test_the_targets_are_met(recorded):
    cold = {(row["n"], row["k"]): row["cold_us"] for row in recorded["rows"]
            if row["kernel"] == "rows"}
    ratios = [us / cold[shape] for shape, us in measure.PUBLISHED.items()]
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(recorded["faster_than_published"])
    assert recorded["faster_than_published"] >= 2.4
    assert cold[13824, 2560] <= 4.0


def test_rows_are_shown_as_tables(recorded):
    few = {**recorded, "rows": recorded["rows"][:2]}
    text, csv = measure.as_text(few), measure.as_csv(few)
    assert len(text.splitlines()) == 4
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert csv.splitlines()[0] == ",".join(measure.Row.__dataclass_fields__)
    assert len(csv.splitlines()) == 3


def test_codes_are_followed_by_garbage_and_rows_repeat():
    values = np.arange(3)
    assert measure._repeat(values, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert measure._repeat(values[None], 4, -1).tolist() == [[0, 1, 2, 0]]


@pytest.mark.skipif(absence() is None, reason="there is a GPU")
def test_without_a_gpu_the_command_says_what_is_missing(tritforge):
    run = tritforge("bench", "--products")
    assert run.code == 1
    assert re.fullmatch("error: .*(cuda-bindings is missing|no NVIDIA|compute capability).*",
                        run.err.splitlines()[-1])
