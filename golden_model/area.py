# SPDX-License-Identifier: Apache-2.0
"""Estimate what a configuration takes, before anything is built.

The estimate exists to refuse what cannot fit and to name the knob; ``tritforge synth`` measures.
Linear in the terms that the array is made of.  The constants of a family are fitted to what
``tritforge synth array`` (yosys 0.70) measured for arrays of adder trees with 64 to 512 products a
cycle, 4 and 5 bits a digit, both packings: within 15 % of each; units and attention likewise.
"""

from dataclasses import dataclass
from typing import NamedTuple

from golden_model.accelerator_config import AcceleratorConfig, UnitsConfig
from golden_model.config import ArrayConfig

__all__ = ["Estimate", "capacity_problems", "estimate"]


class _Family(NamedTuple):
    """LUTs for each term, and the shape of one block RAM."""

    lut: str
    mac: float
    """LUTs of one lane of one row, whatever the digit's width."""
    digit_bit: float
    """LUTs that each bit of the digit adds to a lane of a row."""
    trit: float
    """LUTs of the base-3 unpacker for one trit; the other packing takes none."""
    acc_bit: float
    """LUTs for each bit of each row's accumulator and output register."""
    set_bit: float
    """LUTs that such a bit takes more where accumulators of several tokens are kept in LUTs."""
    fixed: float
    """LUTs of control, whatever the geometry."""
    units: float
    """LUTs that the units take for each LUT6 that they take on xc7."""
    block_width: int
    block_depth: int


_FAMILIES = {
    "xc7": _Family("LUT6", 0.0, 1.8, 4.5, 2.0, 1.0, 150, 1.0, 72, 512),
    "ecp5": _Family("LUT4", 0.5, 2.7, 11.5, 4.0, 2.0, 200, 2.1, 36, 512),
    "ice40": _Family("LUT4", 1.0, 2.0, 15.0, 4.0, 8.0, 150, 2.5, 16, 256),
}
_FAMILIES["generic"] = _FAMILIES["xc7"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a configuration is expected to take."""

    luts: int
    """In the target's own kind, `lut_kind`, memory in LUTs included."""
    lut_kind: str
    memory_bits: int
    """Block RAM bits, counted as whole blocks."""


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _units_luts(units: UnitsConfig) -> float:
    """LUT6 of the units on xc7, fitted to ``tritforge synth`` within 15 % of each unit."""
    multiplying = 0.55 if units.form == "dsp" else 1.0
    quantisers = (1_195 + 1_030) * units.lanes
    return (multiplying * (quantisers + 770 + 600) + 534 + 250 + 100 * units.lanes
            + 48 * units.down_width + 16 * units.up_width + 1_300)


def _attention_luts(config: AcceleratorConfig) -> float:
    """LUT6 of attention on xc7: engines as measured with 32 and 64 lanes, and the cache's logic."""
    engines = config.attention.attention
    query = 650 + 106 * engines.lanes + 300 * (engines.abreast - 1)
    return 3_900 + query * engines.queries


def _units_bits(config: AcceleratorConfig) -> int:
    """Bits of the units' memories, each counted as it is and not as blocks."""
    product = config.masked_linear.product
    sums = product.max_blocks * product.width * product.sum_bits
    return config.gated_ffn.gate_up.memory_bits + sums + 8 * config.masked_linear.max_n


def _tile_memory_bits(array: ArrayConfig, family: _Family) -> int:
    """Bits of the whole blocks that the tile memory takes."""
    blocks = (_ceil_div(array.lanes * array.digit_bits, family.block_width)
              * _ceil_div(array.tile_words, family.block_depth))
    return blocks * family.block_width * family.block_depth


def estimate(config: AcceleratorConfig) -> Estimate:
    """Estimate LUTs and block RAM of the accelerator that `config` describes."""
    family = _FAMILIES[config.target.family]
    array = config.array
    lane = family.mac + family.digit_bit * array.digit_bits
    trit = family.trit if array.packing == "base3" else 0.0
    sets = family.set_bit if array.batch > 1 else 0.0
    luts = (array.macs_per_cycle * (lane + trit)
            + array.rows * array.acc_bits * (family.acc_bit + sets) + family.fixed)
    bits = _tile_memory_bits(array, family)
    if config.units is not None:
        luts += family.units * _units_luts(config.units)
        bits += _units_bits(config)
    if config.units is not None and config.system is not None:
        luts += family.units * _attention_luts(config)
        bits += config.decoder.chunk_bits
    return Estimate(luts=round(luts), lut_kind=family.lut, memory_bits=bits)


def _shortage(config: AcceleratorConfig, need: str, limit: int, knob: str,
              value: int) -> tuple[str, str]:
    whole = config.units is not None and config.system is not None
    rest = ("" if config.units is None else
            f", or leave the {'system' if whole else 'units'} out by "
            f"{'system' if whole else 'units'} = false")
    return knob, (f"{knob} = {value} is too much for {config.target.name}: about {need} are "
                  f"needed, it has {limit:,}; lower {knob}{rest}")


def capacity_problems(config: AcceleratorConfig) -> list[tuple[str, str]]:
    """Name what the target cannot hold: the dotted path of the knob to turn, and a sentence.

    Empty if it fits, or if the target has no limits.
    """
    need, target, array = estimate(config), config.target, config.array
    problems = []
    if target.luts and need.luts > target.luts:
        # Attention's engines are most of a whole accelerator.
        knob, value = (("system.queries", config.system.queries)
                       if config.units is not None and config.system is not None
                       and config.system.queries > 1
                       else ("array.rows", array.rows) if array.rows > 1
                       else ("array.lanes", array.lanes))
        problems.append(_shortage(config, f"{need.luts:,} {need.lut_kind}", target.luts, knob,
                                  value))
    if target.memory_bits and need.memory_bits > target.memory_bits:
        # Blocks side by side make a wide word, blocks behind each other long or several vectors.
        deep = array.tile_words > _FAMILIES[target.family].block_depth
        knob, value = (("array.lanes", array.lanes) if not deep
                       else ("array.batch", array.batch) if array.batch > 1
                       else ("array.max_k", array.max_k))
        problems.append(_shortage(config, f"{need.memory_bits:,} bits of block RAM",
                                  target.memory_bits, knob, value))
    return problems + _system_problems(config, need.memory_bits)


def _system_problems(config: AcceleratorConfig, others: int) -> list[tuple[str, str]]:
    """Name what is too large of KV cache and image, beside `others` bits of block RAM."""
    target, system = config.target, config.system
    if config.units is None or system is None or not target.memory_bits:
        return []
    cache = config.attention.cache
    try:
        cache.check_fits(target.memory_bits, target.name)
    except ValueError as error:
        return [("window", f"window = {config.window} is too much for {target.name}: {error}")]
    beat = config.decoder.port.beat_bits
    image = system.depth * beat if system.memory == "block" else 0
    hint = ", or lower array.batch" if config.array.batch > 1 else ""
    left = target.memory_bits - cache.memory_bits - others
    if image <= left:
        return []
    problem = (f"system.depth = {system.depth} is too much for {target.name}: the image takes "
               f"{image:,} bits of block RAM, beside the KV cache ({cache.memory_bits:,}) and what "
               f"else is there ({others:,}) {max(left, 0):,} are left; lower it to "
               f"{max(left, 0) // beat:,}, or lower the window, or put the image behind a bus by "
               f"system.memory = axi, or leave the system out by system = false{hint}")
    return [("system.depth", problem)]
