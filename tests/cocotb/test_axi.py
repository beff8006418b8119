# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.runner import run_bench
from tests.cocotb.axi_toy import Toy, control_config


@pytest.mark.cocotb
def test_the_bus_side_on_verilator():
    done = run_bench(Toy(control_config("axi_lite")), "tests.cocotb.bench_axi")
    assert done.passed == 6


@pytest.mark.cocotb
def test_the_bus_side_on_icarus(icarus):
    done = run_bench(Toy(control_config("axi_lite")), "tests.cocotb.bench_axi", simulator=icarus,
                     seed=2)
    assert done.passed == 6
