# SPDX-License-Identifier: Apache-2.0
"""The quantiser's Verilog on both simulators."""

import pytest

from golden_model.vector_config import NormQuantiserConfig
from hw.quant.norm_quantiser import NormQuantiser
from sim.runner import SIMULATORS, MissingTool, SimulationFailed, run_bench
from tests.hw.quant.tokens import QuantiserWithUnit

BENCH = "tests.cocotb.bench_quant"
CONFIGS = [NormQuantiserConfig(lanes=2, max_n=128), NormQuantiserConfig(lanes=3, max_n=128,
                                                                        rows_per_stage=6)]


def run(config, simulator, **arguments):
    try:
        return run_bench(QuantiserWithUnit(config), BENCH, simulator=simulator, **arguments)
    except MissingTool as error:
        pytest.skip(str(error))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_quantiser(simulator):
    assert run(CONFIGS[0], simulator).passed == 2


@pytest.mark.cocotb
@pytest.mark.parametrize("seed", [11])
def test_other_tokens_and_stages(seed):
    assert run(CONFIGS[1], "icarus", seed=seed).passed == 2


@pytest.mark.cocotb
def test_a_mantissa_without_its_last_bit_is_noticed(monkeypatch):
    lanes = NormQuantiser.lanes

    def forgetful(self, m, operands, mantissa, power):
        return lanes(self, m, operands, mantissa & 0xFFFE, power)

    monkeypatch.setattr(NormQuantiser, "lanes", forgetful)
    with pytest.raises(SimulationFailed, match="tokens_match_in_value_and_cycle"):
        run(CONFIGS[0], "icarus")
