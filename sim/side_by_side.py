# SPDX-License-Identifier: Apache-2.0
"""Several components in one module, so that their benches need one build."""

import dataclasses

from amaranth import *
from amaranth.lib import wiring

__all__ = ["SideBySide"]


class SideBySide(wiring.Component):
    """Components with nothing between them: port ``p`` of the one called ``u`` is ``u_p``.

    ``config`` is a dataclass of theirs, a field each.
    """

    def __init__(self, **units):
        self.units = units
        self.config = dataclasses.make_dataclass("Configs", units)(
            **{name: unit.config for name, unit in units.items()})
        super().__init__({f"{name}_{port}": member for name, unit in units.items()
                          for port, member in unit.signature.members.items()})

    def elaborate(self, platform):
        """Join every port to the one outside."""
        m = Module()
        for name, unit in self.units.items():
            m.submodules[name] = unit
            for port in unit.signature.members:
                wiring.connect(m, wiring.flipped(getattr(self, f"{name}_{port}")),
                               getattr(unit, port))
        return m
