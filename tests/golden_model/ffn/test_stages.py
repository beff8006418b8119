# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model.ffn.stages import BufferedQueue, CompactorSteps, GatherSteps, Pipeline, Row
from golden_model.sparse.compactor import emission_cycles
from golden_model.sparse.row_gather import gather_cycles
from golden_model.sparse_config import CompactorConfig, RowGatherConfig


@pytest.mark.parametrize("config", [RowGatherConfig(width=1, in_flight=2), RowGatherConfig()],
                         ids=str)
@pytest.mark.parametrize("blocks", [1, 2, 7])
@pytest.mark.parametrize("latency", [1, 9, 30])
def test_gather_agrees_with_its_closed_form(config, blocks, latency):
    """Two models of one component: that of transfers as early as can be, and that of handshakes."""
    model = GatherSteps(config)
    rows = [Row(n, False) for n in range(9)] + [Row(0, True)]
    named, weights, sums, requests = [], [], [], []
    now = 0
    while len(sums) < len(rows):
        row = rows[len(named)] if len(named) < len(rows) and model.room else None
        due = len(weights)
        offered = due < blocks * len(requests) and now >= requests[due // blocks] + latency
        if offered and model.w_ready(True):
            weights.append(now)
        if model.out is not None:
            sums.append(now)
        if row is not None:
            named.append(now)
            if not row.end:
                requests.append(now)
        model.tick(row, blocks, offered, True)
        now += 1
    assert (named, requests, weights, sums) == (*gather_cycles(config, [(9, blocks)], latency),)


def test_compactor_agrees_with_its_closed_form():
    config = CompactorConfig(lanes=4, queue=3)
    rng = np.random.default_rng(1)
    masks = [np.flatnonzero(rng.random(4) < 0.4).tolist() for _ in range(30)]
    model = CompactorSteps(config)
    taken, emitted, rows, now = [], [], [], 0
    while len(emitted) <= sum(map(len, masks)):
        beat = len(taken)
        mask = (masks[beat], beat == len(masks) - 1) if beat < len(masks) else None
        if mask is not None and model.ready:
            taken.append(now)
        if model.out is not None:
            emitted.append(now)
            rows.append(model.out)
        model.tick(mask, True)
        now += 1
    assert (taken, emitted) == emission_cycles(config, [len(mask) for mask in masks])
    assert rows == [*(Row(4 * n + lane, False) for n, mask in enumerate(masks) for lane in mask),
                    Row(0, True)]


def test_an_entry_is_there_two_cycles_after_it_was_put():
    queue = BufferedQueue(3)
    seen = []
    for cycle in range(6):
        seen.append((queue.ready, queue.head))
        queue.tick(cycle if queue.ready else None, cycle == 4)
    assert seen == [(True, None), (True, None), (True, 0), (False, 0), (False, 0), (True, 1)]


def test_a_pipeline_stands_still_as_one():
    pipeline = Pipeline(2)
    for put, ready in ((1, True), (None, True), (2, False), (3, False), (4, True)):
        pipeline.tick(put, ready)
    assert pipeline.stages == [4, None]
