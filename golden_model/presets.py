# SPDX-License-Identifier: Apache-2.0
"""The configurations and devices that are supported by name.

Whatever is listed here is emitted, linted and simulated by the tests; other configurations are
checked when they are asked for, but nobody has run them before.
"""

import difflib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

from golden_model.accelerator_config import AcceleratorConfig, Target, UnitsConfig
from golden_model.config import ArrayConfig
from golden_model.system_config import SystemConfig

__all__ = ["PRESETS", "TARGETS", "preset", "suggestion", "target"]

Named = TypeVar("Named")


def _by_name(items: Iterable[Target]) -> Mapping[str, Target]:
    return MappingProxyType({item.name: item for item in items})


TARGETS = _by_name((
    # No device: simulation, or an estimate without limits.
    Target(name="generic", family="generic", luts=0, memory_bits=0),
    # Lattice LFE5U-85F: 208 block RAMs of 18 kbit.
    Target(name="ecp5-85f", family="ecp5", luts=83_640, memory_bits=208 * 18_432),
    # Lattice iCE40 UP5K: 30 block RAMs of 4 kbit and four single-port RAMs of 256 kbit.
    Target(name="up5k", family="ice40", luts=5_280, memory_bits=30 * 4_096 + 4 * 262_144),
    # AMD XCK26 (Kria KV260): 144 block RAMs of 36 kbit and 64 UltraRAMs of 288 kbit.
    Target(name="xck26", family="xc7", luts=117_120, memory_bits=144 * 36_864 + 64 * 294_912),
))
"""Devices by name, with what each holds."""

PRESETS: Mapping[str, AcceleratorConfig] = MappingProxyType({config.name: config for config in (
    AcceleratorConfig(
        name="tiny",
        description="Simulation in seconds: the smallest array that has every feature",
        target=TARGETS["generic"],
        clock_mhz=100.0,
        array=ArrayConfig(rows=4, lanes=16, max_k=512, max_m=1024),
        units=UnitsConfig(max_hidden=256, max_ffn=512),
        system=SystemConfig(depth=24_576, heads=4, queries=2, grouped=True, abreast=4,
                            max_vocab=512),
        window=16,
    ),
    AcceleratorConfig(
        name="ulx3s",
        description="ULX3S (ECP5-85F): the demo model with every weight on the chip",
        target=TARGETS["ecp5-85f"],
        clock_mhz=50.0,
        # Two rows, as the vector units' elements come two by two; every engine takes a beat of 128
        # trits a cycle: 0006.
        array=ArrayConfig(rows=2, lanes=64, max_k=1024, max_m=4096),
        # As long as the demo model's vectors: its weights fill the memory.  Adders alone would take
        # more LUTs than there are, so multipliers of the units are blocks.
        units=UnitsConfig(lanes=4, up_width=128, down_width=128, max_hidden=128, max_ffn=384,
                          form="dsp"),
        # Registers between a multiplier's rows are none within a block: one stage is as quick.
        system=SystemConfig(bus="wishbone", depth=12_288, heads=4, queries=2, grouped=True,
                            abreast=4, rows_per_stage=9, max_vocab=512),
        window=128,
    ),
    AcceleratorConfig(
        name="icebreaker",
        # The quantiser alone would take more LUTs than the device has.
        description="iCEBreaker (iCE40 UP5K): an array, without units, for the smallest board",
        target=TARGETS["up5k"],
        clock_mhz=12.0,
        array=ArrayConfig(rows=4, lanes=16, levels_per_stage=1, max_k=1024, max_m=4096),
        window=64,
    ),
    AcceleratorConfig(
        name="axi128",
        description="Kria KV260 scale: BitNet 2B4T shapes, one 128-bit beat is 80 base-3 trits",
        target=TARGETS["xck26"],
        clock_mhz=250.0,
        # 128,256 rows of the LM head is the longest command, 6,912 columns of Wdown the longest
        # vector.  One adder level a stage carries the clock.
        array=ArrayConfig(rows=2, lanes=40, levels_per_stage=1, max_k=6912, max_m=131_072),
        # Engines as wide as the bus: decision 0006.
        units=UnitsConfig(up_width=80, down_width=80, max_hidden=2560, max_ffn=6912),
        # 5 KV heads in each of 30 layers; the window is what the device's memory holds of them.
        system=SystemConfig(memory="axi", depth=1 << 26, outstanding=16, streams=150, heads=20,
                            queries=4, head_lanes=64, head_words=2, grouped=True, digits=1,
                            max_vocab=131_072),
        window=128,
    ),
)})
"""Configurations by name."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of `known`, or nothing if none is near."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _look_up(kind: str, name: str, items: Mapping[str, Named]) -> Named:
    if name not in items:
        listed = ", ".join(sorted(items))
        raise ValueError(f"unknown {kind} {name!r}{suggestion(name, items)} (there are: {listed})")
    return items[name]


def preset(name: str) -> AcceleratorConfig:
    """Return the named configuration; ``ValueError`` suggests the nearest name."""
    return _look_up("preset", name, PRESETS)


def target(name: str) -> Target:
    """Return the named device; ``ValueError`` suggests the nearest name."""
    return _look_up("target", name, TARGETS)
