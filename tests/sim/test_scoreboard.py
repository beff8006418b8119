# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.scoreboard import Scoreboard


def test_says_where_things_part():
    board = Scoreboard("o", [1, 2])
    board.check(1)
    with pytest.raises(AssertionError, match=r"o: item 1 is 3, not 2 \(cycle 9\)"):
        board.check(3, " (cycle 9)")


def test_more_than_expected_fails():
    with pytest.raises(AssertionError, match="was not expected: 1"):
        Scoreboard("o").check(1)


def test_less_than_expected_fails():
    board = Scoreboard("o")
    board.expect(1, 2)
    board.check(1)
    with pytest.raises(AssertionError, match="1 of 2 items did not come"):
        board.close()
