# SPDX-License-Identifier: Apache-2.0
"""The sampler's Verilog on both simulators."""

from pathlib import Path

import pytest

from golden_model.sampler_config import SamplerConfig
from hw.head import sampler
from sim.runner import SIMULATORS, MissingTool, SimulationFailed, run_bench
from tests.hw.head.draws import SamplerWithUnit

CONFIG = SamplerConfig(max_vocab=512)
PARAMETERS = {"model": str(Path(__file__).parents[2] / "models/demo/model.safetensors"),
              "tokens": [0, 17, 5, 300, 42], "temperature": 0.8}


def run(simulator, count):
    try:
        return run_bench(SamplerWithUnit(CONFIG), "tests.cocotb.bench_sampler",
                         simulator=simulator, parameters={**PARAMETERS, "random": count})
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_tokens(simulator):
    assert run(simulator, 40 if simulator == "verilator" else 6).passed == 2


@pytest.mark.cocotb
def test_a_table_with_a_wrong_entry_is_noticed(monkeypatch):
    monkeypatch.setattr(sampler, "TABLE", [word - (n == 255) for n, word in
                                           enumerate(sampler.TABLE)])
    with pytest.raises(SimulationFailed, match="tokens_under_stalls, tokens_and_cycles"):
        run("icarus", 0)
