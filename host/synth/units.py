# SPDX-License-Identifier: Apache-2.0
"""Area of the units beside the array.

Units are measured on their own, in their default configuration (four elements a cycle, products
16 trits, the rotary embedding one pair, the gated product one word), and their sums take no account
of what they might share.
"""

import dataclasses
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from host.synth.yosys import FAMILIES, TOP, figures, script, synthesise, versions

__all__ = ["ALL_UNITS", "UNITS", "UNITS_BUDGET", "Unit", "measure_unit", "measure_units"]


def _class_name(stem: str) -> str:
    return "".join(word.capitalize() for word in stem.split("_"))


class Unit(NamedTuple):
    """One unit beside the array."""

    module: str
    configs: str
    """Module of its configuration, which is called after its class."""
    together: bool = False
    """Whether an accelerator has it: the others are contained in one that it has."""
    multiplies: bool = False
    """Whether it has multipliers that DSP blocks may take over."""
    options: Mapping[str, Any] = {}
    """What differs from the default configuration."""
    shares: str = ""
    """Unit whose configuration it takes, if not one of its own."""

    @property
    def name(self) -> str:
        """Class of the unit."""
        return _class_name(self.module.rpartition(".")[2])

    def configuration(self, dsp: bool) -> Any:
        """Return its configuration, in the form for DSP blocks or in the one without."""
        form = {"form": "dsp"} if dsp and self.multiplies else {}
        name = _class_name(self.shares) if self.shares else self.name
        return getattr(import_module(self.configs), f"{name}Config")(**self.options, **form)

    def build(self, dsp: bool) -> Any:
        """Build it in that configuration."""
        return getattr(import_module(self.module), self.name)(self.configuration(dsp))


_QUANT = "golden_model.quant_config"
_VECTOR = "golden_model.vector_config"
_SPARSE = "golden_model.sparse_config"

UNITS: Mapping[str, Unit] = {
    "norm_quantiser": Unit("hw.quant.norm_quantiser", _QUANT, multiplies=True),
    "norm_quantiser_residual": Unit("hw.quant.norm_quantiser", _QUANT, together=True,
                                    multiplies=True, options={"residual": True}),
    "small_float_unit": Unit("hw.quant.small_float_unit", _QUANT, together=True),
    "scale_lanes": Unit("hw.quant.scale_lanes", _QUANT, multiplies=True),
    "residual_add": Unit("hw.vector.residual_add", _VECTOR, multiplies=True),
    "rope": Unit("hw.vector.rope", _VECTOR, together=True, multiplies=True),
    "gate_peak": Unit("hw.ffn.gate_peak", _VECTOR, together=True, shares="relu2_glu"),
    "squarer": Unit("hw.ffn.squarer", _VECTOR, multiplies=True, shares="relu2_glu"),
    "relu2_glu": Unit("hw.ffn.relu2_glu", _VECTOR, together=True, multiplies=True),
    "top_k": Unit("hw.sparse.top_k", _SPARSE, together=True),
    "compactor": Unit("hw.sparse.compactor", _SPARSE),
    "sparse_product": Unit("hw.sparse.sparse_product", _SPARSE, together=True),
    "row_gather": Unit("hw.sparse.row_gather", _SPARSE, together=True),
}
"""Units by name.

Residuals are added by the quantiser's lanes; top-K contains a compactor, the gated product a
squarer.
"""

ALL_UNITS = "units"
"""Name of those that an accelerator has, together."""

UNITS_BUDGET = 9000
"""Most LUT6 that they may take together on ``xc7`` without DSP blocks."""


def _measured_unit(name: str, target: str, dsp: bool) -> dict[str, Any]:
    from hw.emit import emit_verilog

    unit = UNITS[name]
    component = unit.build(False)
    plain = figures(synthesise(emit_verilog(component, TOP, target), target))
    width = getattr(component.config, "width", None)
    result = {"design": name, **plain, **({} if width is None else {"macs_per_cycle": width}),
              "configuration": dataclasses.asdict(component.config)}
    if dsp:
        # What has no multiplier is the same.
        result["with_dsp"] = plain if not unit.multiplies else figures(
            synthesise(emit_verilog(unit.build(True), TOP, target), target, dsp=True))
    return result


def _made(target: str, dsp: bool) -> dict[str, Any]:
    family = FAMILIES[target]
    return {"flow": script(family), **({"flow_with_dsp": script(family, dsp)} if dsp else {}),
            "versions": versions()}


def measure_unit(name: str, target: str, dsp: bool = False) -> dict[str, Any]:
    """Measure one of `UNITS` for one family.

    Returns
    -------
    dict
        ``lut``, ``dsp`` (none), cells and registers; ``macs_per_cycle`` for products; with `dsp`
        also ``with_dsp``: the same with DSP blocks allowed and multipliers in that form.
    """
    return {"target": target, **_measured_unit(name, target, dsp), **_made(target, dsp)}


def measure_units(target: str, dsp: bool = False,
                  progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Measure every unit by itself, and sum those that an accelerator has.

    Returns
    -------
    dict
        The sums, ``units`` with one result for each that is summed, ``parts`` with one for each
        that is contained in those, and for ``xc7`` the ``budget``.
    """
    rows: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for name, unit in UNITS.items():
        progress(name)
        (rows if unit.together else parts).append(_measured_unit(name, target, dsp))
    keys = ("lut", "dsp", "registers", "block_memories")

    def total(areas: list[dict[str, Any]]) -> dict[str, Any]:
        return {key: sum(area[key] for area in areas) for key in keys}

    result = {"design": ALL_UNITS, "target": target, **total(rows)}
    if target == "xc7":
        result["budget"] = UNITS_BUDGET
    if dsp:
        result["with_dsp"] = total([row["with_dsp"] for row in rows])
    return {**result, "units": rows, "parts": parts, **_made(target, dsp)}
