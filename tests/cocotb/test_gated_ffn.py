# SPDX-License-Identifier: Apache-2.0
import dataclasses
import shutil

import pytest

from golden_model.ffn_config import GatedFfnConfig
from golden_model.presets import preset
from host.demo import MODEL, read_model
from host.ffn_table import WIDTHS
from hw.ffn.gated_ffn import GatedFfn
from sim.runner import SIMULATORS, run_bench


def block(name):
    """Return a block on a preset's array, with memories for the demo model."""
    shape, widths = read_model(MODEL).shape, WIDTHS[name]
    array = dataclasses.replace(preset(name).array, max_k=shape.hidden, max_m=shape.ffn)
    return GatedFfn(GatedFfnConfig(array=array, max_ffn=shape.ffn, up_width=widths.up,
                                   down_width=widths.down))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_the_demo_model_on_the_smallest_array(simulator):
    if simulator == "icarus" and not shutil.which("iverilog"):
        pytest.skip("Icarus is not installed")
    done = run_bench(block("tiny"), "tests.cocotb.bench_gated_ffn", simulator=simulator,
                     parameters={"tokens": 9, "layers": 2 if simulator == "verilator" else 1,
                                 "stalled": 1})
    assert done.passed == 2


@pytest.mark.cocotb
@pytest.mark.slow
def test_every_layer_of_the_demo_model_on_the_board():
    done = run_bench(block("ulx3s"), "tests.cocotb.bench_gated_ffn",
                     parameters={"tokens": 33, "layers": read_model(MODEL).shape.layers,
                                 "stalled": 2})
    assert done.passed == 2
