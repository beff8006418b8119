# SPDX-License-Identifier: Apache-2.0
"""CRC-32 of a few bytes at a time, as sums of bits."""

from functools import reduce
from operator import xor

from amaranth import *

__all__ = ["POLYNOMIAL", "START", "step"]

START = 0xFFFF_FFFF
"""State ahead of the first byte; the CRC is the last state with every bit inverted."""
POLYNOMIAL = 0xEDB8_8320
"""IEEE 802.3, bits in the order in which they leave the register."""
STATE_BITS = 32


def step(state, content):
    """State after the bytes of `content`, the lowest first: a sum of inputs for each of its bits.

    Which inputs these are follows from running the register on sets of inputs instead of bits.
    """
    inputs = [*state, *content]
    terms = [{n} for n in range(STATE_BITS)]
    for place in range(len(content)):
        feedback = terms[0] ^ {STATE_BITS + place}
        terms = [term ^ (feedback if POLYNOMIAL >> n & 1 else set())
                 for n, term in enumerate([*terms[1:], set()])]
    return Cat(reduce(xor, (inputs[n] for n in sorted(term))) for term in terms)
