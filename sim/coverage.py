# SPDX-License-Identifier: Apache-2.0
"""Corners that a bench must have met, counted with cocotb-coverage: an unmet one fails it."""

import operator

from cocotb_coverage.coverage import CoverCross, CoverPoint, coverage_db

__all__ = ["Coverage"]


class Coverage:
    """Points of one unit, each a list of corners, and crosses of points.

    Parameters
    ----------
    unit
        Name; two of the same name count together.
    points
        Corners by name of a point.
    crosses
        Names of the points of each cross, by its name; its corners are tuples.
    unreachable
        By name of a point or a cross: corners that cannot be met, with the reason why not.
    """

    def __init__(self, unit, points, crosses=None, unreachable=None):
        self.unit = unit
        self.unreachable = unreachable or {}
        self._names = [f"{unit}.{name}" for name in (*points, *(crosses or {}))]

        def sample(seen):
            return seen

        met = [CoverPoint(f"{unit}.{name}", xf=lambda seen, name=name: seen[name],
                          rel=operator.contains, bins=list(corners), inj=False)
               for name, corners in points.items()]
        # What is wrapped first runs last: a cross takes what its points have met.
        for name, parts in (crosses or {}).items():
            items = [f"{unit}.{part}" for part in parts]
            sample = CoverCross(f"{unit}.{name}", items=items)(sample)
        for point in met:
            sample = point(sample)
        self._sample = sample

    def sample(self, **seen):
        """Count what one case has met: an iterable of corners for every point."""
        self._sample({name: set(corners) for name, corners in seen.items()})

    def counts(self):
        """Return how often each corner was met, by point or cross."""
        return {name: dict(coverage_db[name].detailed_coverage) for name in self._names}

    def check(self):
        """Fail if a corner was not met, or one that is said to be out of reach was."""
        unmet, refuted = [], []
        for name, corners in self.counts().items():
            reasons = self.unreachable.get(name.removeprefix(f"{self.unit}."), {})
            for corner, count in corners.items():
                print(f"{name} {corner}: {count}"
                      + (f" ({reasons[corner]})" if corner in reasons else ""))
                if corner in reasons:
                    refuted += [f"{name} {corner}"] * bool(count)
                else:
                    unmet += [f"{name} {corner}"] * (not count)
        assert not unmet, f"corners not met: {', '.join(unmet)}"
        assert not refuted, f"corners met that were said to be out of reach: {', '.join(refuted)}"
