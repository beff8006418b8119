# SPDX-License-Identifier: Apache-2.0
"""Choosing the next token from integer logits: greedy, or seeded temperature sampling."""

import math
from collections.abc import Callable

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.attention.softmax import FRACTION_BITS, exp2_weights

__all__ = ["ZERO_SEED", "Sampler", "TemperatureSampler", "greedy", "xorshift32"]

Sampler = Callable[[Ints, Floats], int]
"""Takes one token's logits [vocab] and their small-float scale, gives a token."""

ZERO_SEED = 0x9E3779B9
"""Stands in for seed 0, which a xorshift generator never leaves."""


def greedy(logits: Ints, scale: Floats) -> int:
    """Index of the largest logit; among equals the lowest wins.  The scale plays no part."""
    return int(np.argmax(logits))


def xorshift32(state: int) -> int:
    """Next state of Marsaglia's 32-bit generator with shifts 13, 17, 5."""
    state ^= state << 13 & 0xFFFFFFFF
    state ^= state >> 17
    return state ^ (state << 5 & 0xFFFFFFFF)


class TemperatureSampler:
    """Softmax sampling with integer weights; one generator step a token.

    Parameters
    ----------
    temperature
        Positive; divides the logits.  Zero is not a temperature: use `greedy`.
    seed
        32-bit start of the generator; 0 is replaced by `ZERO_SEED`.

    Raises
    ------
    ValueError
        The temperature is not a positive finite number, or the seed has more than 32 bits.
    """

    def __init__(self, temperature: float, seed: int) -> None:
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature must be positive and finite, not {temperature}")
        if not 0 <= seed < 1 << 32:
            raise ValueError(f"seed must lie in 0..{(1 << 32) - 1}, not {seed}")
        self.unit = smallfloat.from_float(math.log2(math.e) * 2 ** FRACTION_BITS / temperature)
        self.state = seed or ZERO_SEED

    def weights(self, logits: Ints, scale: Floats) -> Ints:
        """Weights [vocab], 0..32768, of logits [vocab]."""
        scores = smallfloat.scale_int(logits, smallfloat.mul(scale, self.unit))
        return exp2_weights(scores.max() - scores)

    def __call__(self, logits: Ints, scale: Floats) -> int:
        """Draw one token: the first whose running sum of weights exceeds the threshold."""
        self.state = xorshift32(self.state)
        running = np.cumsum(self.weights(logits, scale))
        threshold = self.state * int(running[-1]) >> 32
        return int(np.searchsorted(running, threshold, side="right"))
