# SPDX-License-Identifier: Apache-2.0
import pytest

from host.kit.waves import draw


def test_levels_edges_and_payloads():
    assert draw({"a": [False, True, True, False], "long": [None, "x", "x", "yz"]}) == (
        "cycle  0     1     2     3\n"
        "a      ______/~~~~~~~~~~~\\_____\n"
        "long   ......<x==========<yz===\n")


def test_a_long_name_widens_every_cycle():
    assert draw({"a": [True, False], "b": ["12345678", None]}).splitlines()[1:] == [
        "a      ~~~~~~~~~~\\_________", "b      <12345678=.........."]


def test_signals_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        draw({"a": [True], "b": [True, False]})
