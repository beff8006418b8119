# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.coverage import Coverage


def test_every_corner_of_points_and_crosses_is_counted():
    coverage = Coverage("counted", {"size": ["one", "many"], "end": ["low", "high"]},
                        {"both": ("size", "end")})
    coverage.sample(size=["one"], end=["low", "high"])
    coverage.sample(size=["many"], end=[])
    coverage.sample(size=["one", "neither"], end=["low"])
    assert coverage.counts() == {
        "counted.size": {"one": 2, "many": 1}, "counted.end": {"low": 2, "high": 1},
        "counted.both": {("one", "low"): 2, ("one", "high"): 1, ("many", "low"): 0,
                         ("many", "high"): 0}}
    with pytest.raises(AssertionError, match=r"not met: counted\.both \('many', 'low'\), "):
        coverage.check()
    coverage.sample(size=["many"], end=["low", "high"])
    coverage.check()


def test_a_corner_that_is_never_met_fails():
    coverage = Coverage("lacking", {"size": [0, 1]})
    coverage.sample(size=[1])
    with pytest.raises(AssertionError, match=r"corners not met: lacking\.size 0$"):
        coverage.check()


def test_a_reason_excuses_a_corner_until_it_is_met():
    coverage = Coverage("excused", {"size": [0, 1], "end": [1]}, {"both": ("size", "end")},
                        {"size": {0: "sizes are positive"}, "both": {(0, 1): "the same"}})
    coverage.sample(size=[1], end=[1])
    coverage.check()
    coverage.sample(size=[0], end=[])
    with pytest.raises(AssertionError, match=r"out of reach: excused\.size 0$"):
        coverage.check()


def test_a_point_that_a_case_leaves_out_is_an_error():
    coverage = Coverage("left_out", {"size": [0], "end": [0]})
    with pytest.raises(KeyError, match="end"):
        coverage.sample(size=[0])
