# SPDX-License-Identifier: Apache-2.0
import pytest

from golden_model.config import TernaryDotConfig
from hw.mac.ternary_dot import TernaryDot
from sim.runner import run_bench

SMALL = TernaryDotConfig(lanes=3, levels_per_stage=1)


@pytest.mark.cocotb
@pytest.mark.parametrize("config", [
    TernaryDotConfig(lanes=1), SMALL, TernaryDotConfig(lanes=13, digit_bits=5)], ids=str)
def test_on_icarus(config, icarus):
    assert run_bench(TernaryDot(config), "tests.cocotb.bench_dot", simulator=icarus).passed == 3


@pytest.mark.cocotb
def test_on_verilator():
    assert run_bench(TernaryDot(SMALL), "tests.cocotb.bench_dot").passed == 3
