# SPDX-License-Identifier: Apache-2.0
"""The Verilog of attention with its cache on both simulators, on the words of a real model."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from host.model_file import load_model
from hw.attention.cached_attention import CachedAttention
from sim.runner import MissingTool, SimulationFailed, run_bench
from tests.hw.attention.cached import Model
from tests.hw.attention.test_cached_attention import (
    FOUR,
    GROUPED,
    NARROW,
    ORDERED,
    SINGLE,
    TINY,
    Coarse,
)

DEMO = Path(__file__).parents[2] / "models" / "demo"
SLOW = pytest.mark.slow


def run(simulator, config, parameters, component=CachedAttention):
    try:
        return run_bench(component(config), "tests.cocotb.bench_cached_attention",
                         simulator=simulator, parameters=parameters, seed=3)
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize(("simulator", "model", "count"), [
    pytest.param("verilator", GROUPED, 14, marks=SLOW),
    pytest.param("verilator", SINGLE, 14, marks=SLOW),
    pytest.param("verilator", NARROW, 14, marks=SLOW),
    pytest.param("verilator", ORDERED, 14, marks=SLOW),
    pytest.param("verilator", FOUR, 14, marks=SLOW), ("icarus", TINY, 2), ("verilator", TINY, 4),
    pytest.param("icarus", GROUPED, 12, marks=SLOW)], ids=str)
def test_sequences_beyond_the_window(simulator, model, count):
    done = run(simulator, model.config, {"model": model._asdict(), "count": count})
    assert done.passed == 2


def text(count, layers, window):
    """Return the geometry that holds layers of the shipped model, and what a bench reads."""
    weights = load_model(DEMO / "model.safetensors")
    shape, tokens = weights.shape, load_file(DEMO / "heldout.safetensors")["tokens"][0, :count]
    queries = shape.heads // shape.kv_heads
    lanes = 1 << (shape.head_dim - 1).bit_length()
    config = Model(len(layers), shape.heads, shape.kv_heads, shape.head_dim, window, 1, lanes,
                   queries).geometry(weights.numerics)
    return config, {"file": str(DEMO / "model.safetensors"), "layers": layers,
                    "tokens": tokens.astype(np.int64).tolist(), "window": window, "lanes": lanes,
                    "queries": queries}


@SLOW
@pytest.mark.cocotb
@pytest.mark.parametrize(("simulator", "count", "layers", "window"), [
    ("verilator", 80, [0, 1, -1], 32), ("icarus", 8, [-1], 4)])
def test_words_of_the_shipped_model_are_the_exact_decoders(simulator, count, layers, window):
    config, parameters = text(count, layers, window)
    assert run(simulator, config, parameters).passed == 2


@SLOW
@pytest.mark.cocotb
def test_first_tokens_coded_as_coarsely_as_others_are_noticed():
    with pytest.raises(SimulationFailed, match="words_under_stalls"):
        run("icarus", TINY.config, {"model": TINY._asdict(), "count": 1}, Coarse)
