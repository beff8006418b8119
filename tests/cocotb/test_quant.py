# SPDX-License-Identifier: Apache-2.0
"""The quantiser's Verilog on both simulators."""

import pytest
from amaranth import C

from golden_model.quant_config import NormQuantiserConfig
from hw.quant.norm_quantiser import NormQuantiser
from sim.runner import SIMULATORS, MissingTool, SimulationFailed, run_bench
from tests.hw.quant.tokens import QuantiserWithUnit

BENCH = "tests.cocotb.bench_quant"
RESIDUAL_BENCH = "tests.cocotb.bench_quant_residual"
CONFIGS = [NormQuantiserConfig(lanes=2, max_n=128), NormQuantiserConfig(lanes=3, max_n=128,
                                                                        rows_per_stage=6)]
RESIDUAL = NormQuantiserConfig(lanes=2, max_n=64, residual=True, form="dsp")


def run(config, simulator, bench=BENCH, **arguments):
    try:
        return run_bench(QuantiserWithUnit(config), bench, simulator=simulator, **arguments)
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_quantiser(simulator):
    assert run(CONFIGS[0], simulator).passed == 3


@pytest.mark.cocotb
@pytest.mark.slow
def test_other_tokens_and_stages():
    assert run(CONFIGS[1], "icarus", seed=11).passed == 3


@pytest.mark.cocotb
def test_a_mantissa_without_its_last_bit_is_noticed(monkeypatch):
    lanes = NormQuantiser.lanes

    def forgetful(self, m, operands, mantissa, power):
        return lanes(self, m, operands, mantissa & 0xFFFE, power)

    monkeypatch.setattr(NormQuantiser, "lanes", forgetful)
    with pytest.raises(SimulationFailed, match="tokens_match_in_value_and_cycle"):
        run(CONFIGS[0], "icarus")


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_residual_additions(simulator):
    assert run(RESIDUAL, simulator, RESIDUAL_BENCH).passed == 3


@pytest.mark.cocotb
def test_corners_that_are_not_met_are_noticed():
    with pytest.raises(SimulationFailed, match="failed: every_corner_was_met\n"):
        run(CONFIGS[0], "icarus", parameters={"leave_out": "int4"})


@pytest.mark.cocotb
def test_a_residual_without_its_first_saturation_is_noticed(monkeypatch):
    total = NormQuantiser.sum

    def forgetful(addend, shifter, over, negative):
        return total(addend, shifter, C(0, 1), negative)

    monkeypatch.setattr(NormQuantiser, "sum", staticmethod(forgetful))
    with pytest.raises(SimulationFailed, match="sums_match_in_value_and_cycle"):
        run(RESIDUAL, "icarus", RESIDUAL_BENCH)
