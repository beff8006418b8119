# SPDX-License-Identifier: Apache-2.0
"""The configuration of a whole accelerator, and of the device that it is for.

Configurations that are supported by name are in :mod:`golden_model.presets`.
"""

from dataclasses import dataclass, field

from golden_model.config import ArrayConfig, Numerics, _at_least, _one_of, _require

__all__ = ["AcceleratorConfig", "Target"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a device holds; limits that a configuration is checked against before it is built."""

    name: str
    family: str
    """yosys flow: ``xc7``, ``ecp5``, ``ice40`` or ``generic`` (no limits)."""
    luts: int
    """LUT6 on xc7 and UltraScale+, LUT4 elsewhere; 0: no limit."""
    memory_bits: int
    """Block RAM (iCE40: EBR and SPRAM), in bits; 0: no limit."""

    def __post_init__(self) -> None:
        _one_of(self, family=("xc7", "ecp5", "ice40", "generic"))
        _at_least(self, luts=0, memory_bits=0)


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """One accelerator: geometry, target and the numerics it is built for."""

    name: str
    description: str
    target: Target
    clock_mhz: float
    array: ArrayConfig = field(default_factory=ArrayConfig)
    numerics: Numerics = field(default_factory=Numerics)
    window: int = 128
    """Tokens that the KV cache holds, the BOS token included."""

    def __post_init__(self) -> None:
        _at_least(self, window=2)
        _require(0 < self.clock_mhz <= 2000,
                 f"clock_mhz must lie in (0, 2000], not {self.clock_mhz}")
        if self.numerics.act_format == "fp4":
            _require(self.array.digit_bits >= 5,
                     f"array.digit_bits must be at least 5 for FP4, not {self.array.digit_bits}")
