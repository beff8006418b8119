# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest

from golden_model.sparse_config import TopKConfig
from hw.sparse.top_k import TopK
from sim.runner import SIMULATORS, run_bench


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_top_k_of_the_largest_vector(simulator):
    if simulator == "icarus" and not shutil.which("iverilog"):
        pytest.skip("Icarus is not installed")
    done = run_bench(TopK(TopKConfig()), "tests.cocotb.bench_sparse_top_k", simulator=simulator)
    assert done.passed == 2
