# SPDX-License-Identifier: Apache-2.0
import numpy as np

from sim.array_jobs import Job, load_jobs, save_jobs


def test_jobs_survive_their_file(tmp_path):
    trits = np.array([[1, 0], [-1, 1]])
    jobs = [Job(trits, np.array([-128, 127]), 2), Job(trits, np.array([-128, 127]), 2, True)]
    save_jobs(tmp_path / "jobs.npz", jobs)
    loaded = load_jobs(tmp_path / "jobs.npz")
    assert loaded[0].trits is loaded[1].trits
    assert [(job.trits.tolist(), job.codes.tolist(), job.digits, job.reuse) for job in loaded] == [
        (job.trits.tolist(), job.codes.tolist(), job.digits, job.reuse) for job in jobs]
