# SPDX-License-Identifier: Apache-2.0
import shutil

import pytest

from golden_model.kv_config import KvCacheConfig
from hw.kv.cache import KvCache
from sim.runner import run_bench

PLAIN = (KvCacheConfig(lanes=16, rows=60, sinks=6, row_words=2, window=11, slots=2),
         {"slots": 2, "streams": 3, "words": 2, "window": 11})
PROTECTED = (KvCacheConfig(lanes=8, rows=30, sinks=4, row_words=1, window=6, slots=2, secded=True,
                           scrub_interval=4, ports="1rw"),
             {"slots": 2, "streams": 2, "words": 1, "window": 6})


@pytest.mark.cocotb
@pytest.mark.parametrize(("simulator", "cache"), [
    ("verilator", "plain"), ("icarus", "protected"),
    pytest.param("verilator", "protected", marks=pytest.mark.slow),
    pytest.param("icarus", "plain", marks=pytest.mark.slow)])
def test_the_cache_in_a_verilog_simulator(simulator, cache):
    if simulator == "icarus" and not shutil.which("iverilog"):
        pytest.skip("Icarus is not installed")
    config, shape = {"plain": PLAIN, "protected": PROTECTED}[cache]
    done = run_bench(KvCache(config), "tests.cocotb.bench_kv_cache", simulator=simulator,
                     parameters=shape)
    assert done.passed == 2
