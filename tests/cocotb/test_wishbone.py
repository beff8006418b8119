# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.runner import run_bench
from tests.cocotb.axi_toy import Toy, control_config


@pytest.mark.cocotb
@pytest.mark.parametrize("bus", ["wishbone", "wishbone_pipelined"])
def test_the_control_port(icarus, bus):
    done = run_bench(Toy(control_config(bus)), "tests.cocotb.bench_wishbone", simulator=icarus)
    assert done.passed == 3
