# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest

from golden_model.sparse_config import SparseProductConfig
from hw.sparse.sparse_product import SparseProduct
from sim.runner import SIMULATORS, run_bench


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_sparse_product_of_every_pattern(simulator):
    if simulator == "icarus" and not shutil.which("iverilog"):
        pytest.skip("Icarus is not installed")
    config = SparseProductConfig(width=20, max_n=100, max_m=135, in_flight=8)
    done = run_bench(SparseProduct(config), "tests.cocotb.bench_sparse_product",
                     simulator=simulator)
    assert done.passed == 3
