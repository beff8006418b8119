# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest

from golden_model.sparse_config import TopKConfig
from hw.sparse import top_k
from hw.sparse.top_k import TopK
from sim.runner import SIMULATORS, SimulationFailed, run_bench

BENCH = "tests.cocotb.bench_sparse_top_k"
SHORT = TopKConfig(max_n=1100)
PAIRS = TopKConfig(max_n=1100, emit=2)


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_top_k_of_the_largest_vector(simulator):
    if simulator == "icarus" and not shutil.which("iverilog"):
        pytest.skip("Icarus is not installed")
    assert run_bench(TopK(TopKConfig()), BENCH, simulator=simulator).passed == 3


@pytest.mark.cocotb
def test_two_elements_at_once(icarus):
    assert run_bench(TopK(PAIRS), BENCH, simulator=icarus).passed == 3


@pytest.mark.cocotb
def test_a_corner_that_is_not_met_is_noticed(icarus):
    with pytest.raises(SimulationFailed, match="failed: every_corner_was_met\n"):
        run_bench(TopK(SHORT), BENCH, simulator=icarus, parameters={"leave_out": "ties in blocks"})


@pytest.mark.cocotb
def test_a_magnitude_without_its_top_bit_is_noticed(icarus, monkeypatch):
    magnitude = top_k.magnitude
    monkeypatch.setattr(top_k, "magnitude", lambda code: magnitude(code)[:7])
    with pytest.raises(SimulationFailed, match="failed: values_under_stalls, values_and_cycles"):
        run_bench(TopK(SHORT), BENCH, simulator=icarus)
