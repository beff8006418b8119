# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.streams import Stalls


@pytest.mark.parametrize(("rate", "burst"), [(0.05, 1), (0.5, 1), (0.5, 4), (0.9, 3), (0.2, 10)])
def test_stalls_reach_their_rate(rate, burst):
    go = Stalls(rate, burst, seed=1)
    share = sum(not go() for _ in range(40_000)) / 40_000
    assert share == pytest.approx(rate, abs=0.03)


def test_bursts_have_their_length():
    go = Stalls(0.3, 5, seed=1)
    text = "".join(".x"[not go()] for _ in range(40_000))
    bursts = [run for run in text.split(".") if run]
    assert sum(map(len, bursts)) / len(bursts) == pytest.approx(5, rel=0.1)


def test_the_same_seed_gives_the_same_stalls():
    one, other = Stalls(0.5, 2, seed=3), Stalls(0.5, 2, seed=3)
    assert [one() for _ in range(100)] == [other() for _ in range(100)]


def test_never_stalled():
    assert all(Stalls()() for _ in range(10))


@pytest.mark.parametrize(("rate", "burst"), [(1.0, 1), (-0.1, 1), (0.5, 0)])
def test_impossible_stalls_are_refused(rate, burst):
    with pytest.raises(ValueError, match="rate must lie in"):
        Stalls(rate, burst)
