# SPDX-License-Identifier: Apache-2.0
"""Sites for the block RAMs of memories that are several blocks deep, side by side.

A placer that minimises wire on the whole may scatter the blocks of one column over the device's
width; their outputs then cross it, by the hundred, to the choice among them (decision 0009).
"""

import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

__all__ = ["SITES", "Sites", "columns", "constrain"]

BLOCK_RAM = "DP16KD"


class Sites(NamedTuple):
    """Block RAM sites of one part, row by row."""

    rows: Sequence[int]
    """Their Y; deep memories fill the first ones, what is left over is the other memories'."""
    tiles: Sequence[int]
    """X of each row's tiles, four sites each."""

    def row(self, y: int) -> list[str]:
        """Return the names of a row's sites from left to right, as nextpnr has them."""
        return [f"X{x + 2 * number}/Y{y}/EBR{number}" for x in self.tiles for number in range(4)]


SITES: Mapping[str, Sites] = {"ecp5-85f": Sites(
    (82, 70, 22, 46), (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114))}
"""By the names of :data:`golden_model.presets.TARGETS`.  The middle row comes last."""


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts a name's numbers as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part)
            for part in re.split(r"(\d+)", name)]


def columns(cells: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return a memory's block RAMs that store the same bits of other words, group by group.

    Parameters
    ----------
    cells
        Those of yosys' JSON netlist.
    """
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, cell in cells.items():
        if cell["type"] == BLOCK_RAM:
            bits = [bit for port, nets in sorted(cell["connections"].items())
                    if port.startswith("DI") for bit in nets if isinstance(bit, int)]
            # yosys ends a block's name with the number of its port group and its own.
            groups.setdefault((name.rsplit(".", 2)[0], *bits), []).append(name)
    deep = [sorted(names, key=_natural) for names in groups.values() if len(names) > 1]
    return sorted(deep, key=lambda names: _natural(names[0]))


def constrain(cells: Mapping[str, MutableMapping[str, Any]], sites: Sites) -> int:
    """Give each column of a deep memory neighbouring sites of one row, while there are some.

    Returns
    -------
    int
        The columns that were given sites.
    """
    free = [sites.row(y) for y in sites.rows]
    given = 0
    for names in columns(cells):
        row = next((row for row in free if len(row) >= len(names)), None)
        if row is None:
            continue
        for name in names:
            cells[name].setdefault("attributes", {})["BEL"] = row.pop(0)
        given += 1
    return given
