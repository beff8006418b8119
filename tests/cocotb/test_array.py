# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from golden_model.config import ArrayConfig
from hw.mac import ternary_array
from hw.mac.accumulator import Accumulator
from sim.array_jobs import Job, run_array
from sim.runner import SimulationFailed

TINY = ArrayConfig(rows=2, lanes=5, max_k=40, max_m=20)
SHAPES = [(20, 40, 2), (1, 1, 1), (7, 13, 2), (2, 5, 1), (19, 36, 1)]


def jobs_of(shapes, seed):
    """Make a job of each shape; the last repeats the activations of the one before it."""
    rng = np.random.default_rng(seed)
    jobs = []
    for m, k, digits in shapes:
        peak = 128 if digits == 2 else 16
        jobs.append(Job(rng.integers(-1, 2, (m, k)), rng.integers(-peak, peak, k), digits))
    last = jobs[-1]
    return [*jobs, Job(rng.integers(-1, 2, last.trits.shape), last.codes, last.digits, True)]


def check(config, jobs, **options):
    results, _ = run_array(config, jobs, **options)
    for job, result in zip(jobs, results):
        assert result.sums == (job.codes.astype(int) @ job.trits.T).tolist()
        assert result.outputs == result.predicted
    return results


@pytest.mark.cocotb
@pytest.mark.parametrize("stalls", [
    {}, {"i_cmd": 0.5, "i_x": 0.5, "i_w": 0.5, "o": 0.5}, {"o": 0.9}, {"i_w": 0.9}], ids=str)
def test_on_icarus(icarus, stalls):
    results = check(TINY, jobs_of(SHAPES, seed=1), simulator=icarus, stalls=stalls)
    if not stalls:  # no bubble inside any job, whatever its shape
        assert all(r.busy == r.last_beat - r.first_beat + 1 for r in results)


@pytest.mark.cocotb
def test_two_bit_weights_on_icarus(icarus):
    config = ArrayConfig(rows=3, lanes=4, packing="2bit", digit_bits=4, max_k=40, max_m=20)
    jobs = [Job(j.trits, np.clip(j.codes, -8, 7), 1, j.reuse) for j in jobs_of(SHAPES, seed=2)]
    check(config, jobs, simulator=icarus, stalls={"i_x": 0.3, "o": 0.3})


@pytest.mark.cocotb
@pytest.mark.parametrize("stalls", [{}, {"i_cmd": 0.3, "i_x": 0.3, "i_w": 0.5, "o": 0.5}], ids=str)
def test_three_tokens_share_each_beat_on_icarus(icarus, stalls):
    config = dataclasses.replace(TINY, batch=3)
    jobs, rng = [], np.random.default_rng(4)
    for n, job in enumerate(jobs_of(SHAPES, seed=4)):
        peak = 128 if job.digits == 2 else 16
        codes = jobs[-1].codes if job.reuse else rng.integers(-peak, peak,
                                                              (3 - n % 3, len(job.codes)))
        jobs.append(dataclasses.replace(job, codes=codes))
    check(config, jobs, simulator=icarus, stalls=stalls)


@pytest.mark.cocotb
def test_real_shapes_on_verilator():
    """The demo model's FFN, a slice of 2B4T's down projection, all back to back, then stalled."""
    config = ArrayConfig(rows=4, lanes=32, max_k=6912, max_m=384)
    jobs = jobs_of([(384, 128, 1), (128, 384, 2), (8, 6912, 2), (384, 128, 1)], seed=3)
    results = check(config, jobs)
    beats = sum(result.busy for result in results)
    span = results[-1].last_beat - results[0].first_beat + 1
    # The third job's activations take longer to load than the second takes to compute.
    assert all(r.busy == r.last_beat - r.first_beat + 1 for r in results)
    assert beats / span > 0.9
    check(config, jobs[1:2], stalls={"i_w": 0.3, "o": 0.3})


class _Late(Accumulator):
    """Right values, but a total that waits holds up sums that need no room."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        return m


@pytest.mark.cocotb
def test_planted_bug_is_found(icarus, monkeypatch):
    monkeypatch.setattr(ternary_array, "Accumulator", _Late)
    with pytest.raises(SimulationFailed, match="replay with SEED=7"):
        run_array(TINY, jobs_of(SHAPES, seed=1), simulator=icarus, seed=7, stalls={"o": 0.7})
