# SPDX-License-Identifier: Apache-2.0
import pytest

from golden_model.sparse.block_select import select
from golden_model.sparse_config import SelectorConfig
from hw.sparse import block_select as unit
from hw.sparse.block_select import BlockSelect
from tests.hw.sparse.test_histogram_select import search, segments

CONFIGS = [SelectorConfig(lanes=1, max_n=2), SelectorConfig(lanes=2, max_n=8),
           SelectorConfig(lanes=4, max_n=32)]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [(0.0, 0.0), (0.4, 0.0), (0.0, 0.9)], ids=str)
def test_matches_golden_model(config, stall):
    cases = [case for seed in range(8) for case in segments(config.max_n, seed)]
    got, _, _ = search(BlockSelect(config), config, cases, stall)
    assert got == [select(*case) for case in cases]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_a_block_follows_while_the_result_waits(config):
    cases = list(segments(config.max_n, seed=4))[:3]
    _, sent, received = search(BlockSelect(config), config, cases)
    beats = -(-cases[0][0].size // config.lanes)
    assert received[0] - sent[beats - 1] == config.bit_serial_latency
    assert sent[beats] == received[0]


@pytest.mark.parametrize(("name", "broken"), [
    ("Mux", lambda _select, _kept, less: less), ("CODE_PEAK", 127)],
    ids=["a_bit_that_counts_twice", "no_room_for_128"])
def test_a_planted_bug_is_noticed(monkeypatch, name, broken):
    monkeypatch.setattr(unit, name, broken)
    cases = list(segments(CONFIGS[2].max_n, seed=3))
    got, _, _ = search(BlockSelect(CONFIGS[2]), CONFIGS[2], cases)
    assert got != [select(*case) for case in cases]
