# SPDX-License-Identifier: Apache-2.0
"""Area of the array and of its parts, for any geometry."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from golden_model.config import ArrayConfig
from host.synth.yosys import FAMILIES, TOP, figures, script, synthesise, versions

__all__ = ["DESIGNS", "Design", "measure"]


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


def measure(design: str, config: ArrayConfig, target: str) -> dict[str, Any]:
    """Measure one design for one family.

    Parameters
    ----------
    design
        One of `DESIGNS`: ``array`` (rows x adder tree sharing the activations), ``dot`` or
        ``unpacker``.
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

    recipe = DESIGNS[design]
    macs = recipe.macs(config)
    result = figures(synthesise(emit_verilog(recipe.build(config), TOP, target), target), macs)
    if recipe.full is not None:
        full = synthesise(emit_verilog(recipe.full(config), TOP, target), target)
        result["full"] = figures(full, macs)
    return {"design": design, "target": target, **result,
            "configuration": dataclasses.asdict(config), "flow": script(FAMILIES[target]),
            "versions": versions()}
