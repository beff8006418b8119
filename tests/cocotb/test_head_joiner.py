# SPDX-License-Identifier: Apache-2.0
"""The head joiner's Verilog on both simulators."""

import pytest

from golden_model.head_joiner_config import HeadJoinerConfig
from hw.attention.head_joiner import HeadJoiner
from sim.runner import SIMULATORS, MissingTool, SimulationFailed, run_bench

CONFIG = HeadJoinerConfig(lanes=2, max_n=96, max_heads=6)


def run(simulator):
    try:
        return run_bench(HeadJoiner(CONFIG), "tests.cocotb.bench_head_joiner", simulator=simulator)
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_heads(simulator):
    assert run(simulator).passed == 2


@pytest.mark.cocotb
def test_a_common_exponent_of_one_too_many_is_noticed(monkeypatch):
    place = HeadJoiner.place
    monkeypatch.setattr(HeadJoiner, "place", staticmethod(
        lambda top, shift: place(top, shift) + 1))
    with pytest.raises(SimulationFailed, match="values_under_stalls, values_and_cycles"):
        run("icarus")
