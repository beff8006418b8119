# SPDX-License-Identifier: Apache-2.0
"""Compactor's and row gather's Verilog on both simulators."""

import pytest
from amaranth import C

from hw.mac.ternary_dot import TernaryDot
from hw.sparse import compactor, row_gather
from sim.runner import SIMULATORS, MissingTool, SimulationFailed, run_bench
from tests.cocotb.sparse_units import sparse_units

BENCH = "tests.cocotb.bench_sparse_units"


def run(simulator, **arguments):
    try:
        return run_bench(sparse_units(), BENCH, simulator=simulator, **arguments)
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_both_units_and_their_corners(simulator):
    assert run(simulator).passed == 2


@pytest.mark.cocotb
def test_a_corner_that_is_not_met_is_noticed():
    with pytest.raises(SimulationFailed, match=r"failed: row_gather_unit\n"):
        run("icarus", parameters={"leave_out": "no rows"})


@pytest.mark.cocotb
def test_planted_bugs_are_found_where_they_are(monkeypatch):
    class Forgetful(TernaryDot):
        """A negative weight of the last lane is one too large."""

        def terms(self):
            terms, carries = super().terms()
            return terms, [*carries[:-1], C(0, 1)]

    monkeypatch.setattr(row_gather, "TernaryDot", Forgetful)
    # The next vector's indices go on from the last one's.
    monkeypatch.setattr(compactor, "Mux", lambda _select, _zero, value: value)
    with pytest.raises(SimulationFailed, match="failed: compactor_unit, row_gather_unit"):
        run("icarus")
