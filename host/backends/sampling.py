# SPDX-License-Identifier: Apache-2.0
"""How the next token is drawn, as the accelerator's registers say it."""

from dataclasses import dataclass, replace

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.sampling import ZERO_SEED, TemperatureSampler, greedy, xorshift32

__all__ = ["GREEDY", "Sampling"]


@dataclass(frozen=True)
class Sampling:
    """Greedy, or one draw from a generator whose state is known ahead of it."""

    unit: float | None = None
    """Sampling constant, a small float; none: greedy."""
    state: int = ZERO_SEED
    """Generator ahead of the draw."""

    @classmethod
    def of(cls, temperature: float | None, seed: int) -> "Sampling":
        """Make a sampling at a temperature, or greedy for none.

        Raises
        ------
        ValueError
            The temperature is not positive and finite, or the seed has more than 32 bits.
        """
        if temperature is None:
            return GREEDY
        sampler = TemperatureSampler(temperature, seed)
        return cls(float(sampler.unit), sampler.state)

    @classmethod
    def from_registers(cls, enable: bool, mantissa: int, exponent: int, seed: int) -> "Sampling":
        """Inverse of `registers`; `exponent` as eight unsigned bits."""
        if not enable:
            return GREEDY
        word = exponent << 16 | mantissa
        return cls(float(smallfloat.from_bits(word)), seed or ZERO_SEED)

    @property
    def registers(self) -> tuple[bool, int, int, int]:
        """Fields: enable, mantissa, exponent (eight bits), seed."""
        if self.unit is None:
            return False, 0, 0, 0
        word = int(smallfloat.to_bits(smallfloat.constant(self.unit)))
        return True, word & 0xFFFF, word >> 16 & 0xFF, self.state

    @property
    def advanced(self) -> "Sampling":
        """Sampling of the token after the one that this draws."""
        return self if self.unit is None else replace(self, state=xorshift32(self.state))

    def draw(self, logits: Ints, scale: Floats) -> int:
        """Token of one row of logits [vocab]."""
        if self.unit is None:
            return greedy(logits, scale)
        sampler = TemperatureSampler(1.0, self.state)
        sampler.unit = smallfloat.constant(self.unit)
        return sampler(logits, scale)


GREEDY = Sampling()
