# SPDX-License-Identifier: Apache-2.0
"""The row quantiser's Verilog on both simulators."""

from pathlib import Path

import pytest

from golden_model.kv_row_config import RowQuantiserConfig
from hw.kv import row_quantiser
from hw.kv.row_quantiser import RowQuantiser
from sim.runner import MissingTool, SimulationFailed, run_bench

CONFIG = RowQuantiserConfig(lanes=2)
PARAMETERS = {"model": str(Path(__file__).parents[2] / "models/demo/model.safetensors"),
              "tokens": [1, 17, 5, 300, 42]}


def run(simulator, every):
    try:
        return run_bench(RowQuantiser(CONFIG), "tests.cocotb.bench_row_quantiser",
                         simulator=simulator, parameters={**PARAMETERS, "every": every})
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize(("simulator", "every"), [("verilator", 2), ("icarus", 6)])
def test_heads(simulator, every):
    assert run(simulator, every).passed == 2


@pytest.mark.cocotb
def test_a_scale_that_is_cut_off_is_noticed(monkeypatch):
    kv_scale = row_quantiser.kv_scale
    monkeypatch.setattr(row_quantiser, "kv_scale", lambda scale: kv_scale(scale) & 0xFFFE)
    with pytest.raises(SimulationFailed, match="values_under_stalls, values_and_cycles"):
        run("icarus", 12)
