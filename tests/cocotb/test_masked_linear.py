# SPDX-License-Identifier: Apache-2.0
"""The masked product's Verilog on both simulators."""

from pathlib import Path

import pytest

from golden_model.sparse_config import MaskedLinearConfig
from host.model_file import load_model
from hw.sparse.masked_linear import MaskedLinear
from sim.masked_jobs import MaskedLinearWithUnit
from sim.runner import SIMULATORS, MissingTool, SimulationFailed, run_bench

BENCH = "tests.cocotb.bench_masked_linear"
SMALL = MaskedLinearConfig(lanes=2, max_n=61, max_m=47, width=8, block_size=8, in_flight=3,
                           form="dsp")
MODEL = Path(__file__).parents[2] / "models/demo/model.safetensors"


def run(config, simulator, **arguments):
    try:
        return run_bench(MaskedLinearWithUnit(config), BENCH, simulator=simulator, **arguments)
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_patterns(simulator):
    assert run(SMALL, simulator, parameters={"every": 2}).passed == 2


@pytest.mark.cocotb
def test_wo_and_wdown_of_the_shipped_model():
    shape = load_model(MODEL).shape
    config = MaskedLinearConfig(max_n=max(shape.q_dim, shape.ffn), max_m=shape.hidden,
                                form="dsp")
    assert run(config, "icarus", parameters={"model": str(MODEL),
                                                "tokens": [1, 17, 5, 300, 42]}).passed >= 1


@pytest.mark.cocotb
def test_zeros_that_are_not_dropped_are_noticed(monkeypatch):
    mask = MaskedLinear.mask

    def forgetful(self, m, codes, channels, start, selecting):
        mask(self, m, codes, channels, start, selecting)
        m.d.comb += m.submodules.top_k.i_command.p.drop_zeros.eq(0)

    monkeypatch.setattr(MaskedLinear, "mask", forgetful)
    with pytest.raises(SimulationFailed, match="values_and_cycles"):
        run(SMALL, "icarus", parameters={"every": 8})
