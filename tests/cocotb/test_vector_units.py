# SPDX-License-Identifier: Apache-2.0
"""The vector and FFN units' Verilog on both simulators."""

import pytest
from amaranth import C

from hw.ffn import gate_peak
from hw.quant.rounding_shifter import RoundingShifter
from hw.quant.small_float_unit import DIGITS
from sim.runner import SIMULATORS, MissingTool, SimulationFailed, run_bench
from tests.cocotb.vector_units import COVERAGE, vector_units

BENCH = "tests.cocotb.bench_vector_units"


def run(simulator, **arguments):
    try:
        return run_bench(vector_units(), BENCH, simulator=simulator, **arguments)
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_every_unit_and_its_corners(simulator):
    assert run(simulator).passed == len(COVERAGE)


@pytest.mark.cocotb
def test_a_corner_that_is_not_met_is_noticed():
    with pytest.raises(SimulationFailed, match=r"failed: relu2_glu_unit\n"):
        run("icarus", parameters={"leave_out": "empty gates", "only": "relu2_glu"})


@pytest.mark.cocotb
def test_planted_bugs_are_found_where_they_are(monkeypatch):
    step = RoundingShifter.step

    def forgetful(self, *arguments):
        kept, _, above = step(self, *arguments)
        return kept, C(0, 1), above

    monkeypatch.setattr(RoundingShifter, "step", forgetful)
    monkeypatch.setattr(gate_peak, "Mux", lambda _select, _zero, value: value)
    monkeypatch.setitem(DIGITS, "sqrt", 32)
    with pytest.raises(SimulationFailed) as failure:
        run("icarus")
    failed = {name for name in COVERAGE if f"{name}_unit" in str(failure.value).splitlines()[0]}
    assert failed == set(COVERAGE) - {"rope"}  # which has no such shifter
