# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest

from golden_model.attention_config import AttentionConfig
from golden_model.config import ModelShape, Numerics
from hw.attention.attention import Attention
from sim.runner import SIMULATORS, run_bench
from tests.hw.attention.tokens import WithUnits

SMALL, DEMO, WIDE = (4, 2, 16), (4, 2, 32), (4, 1, 100)


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize(("shape", "lanes", "queries", "form"), [
    (SMALL, 16, 2, "dsp"), pytest.param(DEMO, 32, 2, "booth", marks=pytest.mark.slow),
    pytest.param(WIDE, 64, 4, "booth", marks=pytest.mark.slow)], ids=["small", "demo", "wide"])
def test_attention_of_a_token(simulator, shape, lanes, queries, form):
    if simulator == "icarus" and not shutil.which("iverilog"):
        pytest.skip("Icarus is not installed")
    heads, kv_heads, head_dim = shape
    model = ModelShape(vocab=2, hidden=2, ffn=2, layers=1, heads=heads, kv_heads=kv_heads,
                       head_dim=head_dim, context=33)
    config = AttentionConfig.of(model, Numerics(), lanes=lanes, queries=queries, window=33,
                                form=form)
    done = run_bench(WithUnits(Attention(config)), "tests.cocotb.bench_attention",
                     simulator=simulator, parameters=shape)
    assert done.passed == 3
