# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.head.sampler`: one token, and when it leaves.

:class:`golden_model.sampling.TemperatureSampler` draws the same tokens from a temperature.
"""

from typing import NamedTuple

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Floats, Ints
from golden_model.attention.softmax import exp2_weights
from golden_model.quant_config import FloatUnitConfig
from golden_model.sampler_config import RANDOM_BITS, SamplerConfig
from golden_model.sampling import greedy, xorshift32

__all__ = ["Drawn", "draw", "first_logit", "token_cycle"]


class Drawn(NamedTuple):
    """A token, and the generator's state once it has left."""

    token: int
    state: int


def draw(logits: Ints, scale: Floats, unit: Floats | None, state: int) -> Drawn:
    """Choose from `logits` [n] of small-float `scale`.

    Parameters
    ----------
    unit
        Sampling constant, ``log2(e) * 2**8 / temperature`` as a small float; ``None``: greedy.
    state
        State of the generator, not 0; greedy decoding leaves it alone.
    """
    if unit is None:
        return Drawn(greedy(logits, scale), state)
    scores = smallfloat.scale_int(logits, smallfloat.mul(scale, unit))
    running = np.cumsum(exp2_weights(scores.max() - scores)).tolist()
    state = xorshift32(state)
    threshold = state * running[-1] >> RANDOM_BITS
    return Drawn(next(n for n, sum_ in enumerate(running) if sum_ > threshold), state)


def first_logit(config: SamplerConfig, unit: FloatUnitConfig, scale: int,
                sampling: bool) -> int:
    """Cycle from which logits are taken, if the scale is transferred in cycle `scale`."""
    return scale + (config.factor_latency(unit) if sampling else 1)


def token_cycle(config: SamplerConfig, last: int, n: int, token: int, sampling: bool) -> int:
    """Cycle from which the token is offered, if the last of `n` logits is taken in cycle `last`.

    The scale after it is taken one cycle after the token at the earliest.
    """
    return last + (config.drawing_latency + n + token if sampling else config.greedy_latency)
