# SPDX-License-Identifier: Apache-2.0
"""Count what a component takes on an FPGA family, with open synthesis.

One LUT is one LUT1 to LUT6 on ``xc7``; on ``ecp5`` a LUT4.  What else is made of the same slices
counts as what it displaces: distributed memory and shift registers on ``xc7``, carry cells (two
LUT4 each) and distributed memory (six) on ``ecp5``.  Inverters and wide multiplexers are free.
These are areas after synthesis, ahead of place and route.
"""

from golden_model.presets import suggestion
from host.errors import UserError
from host.synth.designs import DESIGNS, measure
from host.synth.units import ALL_UNITS, UNITS, UNITS_BUDGET, measure_unit, measure_units
from host.synth.yosys import FAMILIES, Area, Family, count, script, synthesise

__all__ = [
    "ALL_UNITS",
    "DESIGNS",
    "FAMILIES",
    "UNITS",
    "UNITS_BUDGET",
    "Area",
    "Family",
    "check_names",
    "count",
    "measure",
    "measure_unit",
    "measure_units",
    "script",
    "synthesise",
]


def check_names(design: str, target: str) -> None:
    """Raise :class:`~host.errors.UserError` for an unknown design or family."""
    designs = [*DESIGNS, *UNITS, ALL_UNITS]
    for kind, name, known in (("design", design, designs), ("target", target, FAMILIES)):
        if name not in known:
            raise UserError(f"unknown {kind} {name!r}{suggestion(name, known)} "
                            f"(there are: {', '.join(known)})")
