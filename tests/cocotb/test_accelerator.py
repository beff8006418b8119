# SPDX-License-Identifier: Apache-2.0
import pytest

from hw.accelerator import Accelerator
from sim.runner import run_bench
from tests.hw import whole
from tests.hw.systems import WithStandIn, configuration

BENCH = "tests.cocotb.bench_accelerator"
KINDS = [("axi_lite", "axi"), ("wishbone", "block"), ("wishbone_pipelined", "block")]


def run(bus, memory, **options):
    done = run_bench(WithStandIn(configuration(bus, memory)), BENCH,
                     parameters={"bus": bus, "memory": memory}, **options)
    assert done.passed == 5


@pytest.mark.cocotb
@pytest.mark.parametrize(("bus", "memory"), KINDS)
def test_the_system_on_icarus(icarus, bus, memory):
    run(bus, memory, simulator=icarus)


@pytest.mark.cocotb
@pytest.mark.slow
def test_the_system_on_verilator():
    run("axi_lite", "axi", seed=2)


def run_whole(bus, memory, **options):
    """Every test with the real decoder; a token takes thousands of cycles."""
    done = run_bench(Accelerator(whole.configuration(bus, memory)), BENCH,
                     parameters={"bus": bus, "memory": memory, "core": "decoder"}, **options)
    assert done.passed == 5


@pytest.mark.cocotb
@pytest.mark.slow
def test_the_decoder_in_it_on_icarus(icarus):
    run_whole("axi_lite", "axi", simulator=icarus)


@pytest.mark.cocotb
@pytest.mark.slow
def test_the_decoder_in_it_on_verilator():
    run_whole("axi_lite", "axi", seed=3, optimise=True)
