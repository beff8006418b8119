# SPDX-License-Identifier: Apache-2.0
"""Compares what came with what was expected, and says where they part."""

from collections import deque

__all__ = ["Scoreboard"]


class Scoreboard:
    """Expected items in order; `check` takes what came.

    Parameters
    ----------
    name
        Stands in front of every message.
    """

    def __init__(self, name, expected=()):
        self.name = name
        self.expected = deque(expected)
        self.matched = 0

    def expect(self, *items):
        """Expect more."""
        self.expected.extend(items)

    def check(self, item, where=""):
        """Compare with the next expected item; ``AssertionError`` names the first that differs."""
        if not self.expected:
            raise AssertionError(
                f"{self.name}: item {self.matched} was not expected: {item}{where}")
        wanted = self.expected.popleft()
        if item != wanted:
            raise AssertionError(
                f"{self.name}: item {self.matched} is {item}, not {wanted}{where}")
        self.matched += 1

    def close(self):
        """Fail if something did not come."""
        if self.expected:
            raise AssertionError(f"{self.name}: {len(self.expected)} of "
                                 f"{self.matched + len(self.expected)} items did not come")
