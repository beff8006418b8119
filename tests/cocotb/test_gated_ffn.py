# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest

from golden_model.config import ArrayConfig
from golden_model.ffn_config import GatedFfnConfig
from golden_model.presets import preset
from host.demo import MODEL, read_model
from hw.ffn.gated_ffn import GatedFfn
from sim.runner import SIMULATORS, run_bench

BENCH = "tests.cocotb.bench_gated_ffn"
SMALL = GatedFfnConfig(array=ArrayConfig(rows=2, lanes=4, max_k=11, max_m=30), lanes=2, max_ffn=21,
                       up_width=6, down_width=4, in_flight=3, pending=4, form="dsp")


def check(config, simulator="verilator", **parameters):
    if simulator == "icarus" and not shutil.which("iverilog"):
        pytest.skip("Icarus is not installed")
    assert run_bench(GatedFfn(config), BENCH, simulator=simulator,
                     parameters=parameters).passed == 2


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", [
    # The quick tests run a whole block in Verilator in tests/host/test_demo.py.
    pytest.param(name, marks=[pytest.mark.slow] * (name == "verilator")) for name in SIMULATORS])
def test_made_up_vectors(simulator):
    check(SMALL, simulator, layers=8, stalled=5)


@pytest.mark.cocotb
@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_the_demo_model_on_the_smallest_array(simulator):
    check(preset("tiny").gated_ffn, simulator, tokens=9, stalled=1,
          layers=2 if simulator == "verilator" else 1)


@pytest.mark.cocotb
@pytest.mark.slow
def test_every_layer_of_the_demo_model_on_the_board():
    check(preset("ulx3s").gated_ffn, tokens=33, layers=read_model(MODEL).shape.layers, stalled=2)
