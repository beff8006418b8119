# SPDX-License-Identifier: Apache-2.0
"""Rotary position embedding, the half-split pairing: element i turns with element i + n / 2."""

import numpy as np

from golden_model.arrays import Floats, Ints
from golden_model.config import WORD_BITS
from golden_model.formats import round_shift, saturate

__all__ = ["TABLE_FRACTION_BITS", "angles", "extra_bits", "rope", "rope_float", "rope_tables"]

TABLE_FRACTION_BITS = 14


def extra_bits(act_format: str) -> int:
    """Fraction bits that rotated words have beyond the projection's integer sums.

    Sums of 4-bit codes gain 6 bits; those of INT8 codes are 16 times larger and gain 2.  Either way
    nothing saturates up to 7,700 inputs.
    """
    return 2 if act_format == "int8" else 6


def angles(positions: int, head_dim: int, theta: float) -> Floats:
    """Angles [positions, head_dim / 2]: ``position * theta**(-2 i / head_dim)``."""
    rates = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    return np.arange(positions)[:, None] * rates


def rope_tables(positions: int, head_dim: int, theta: float) -> tuple[Ints, Ints]:
    """Cosines and sines [positions, head_dim / 2] as Q1.14 integers, -16384..16384."""
    turn = angles(positions, head_dim, theta)
    unit = 1 << TABLE_FRACTION_BITS
    return np.rint(np.cos(turn) * unit).astype(np.int64), np.rint(np.sin(turn) * unit).astype(
        np.int64)


def rope_float(x: Floats, turn: Floats) -> Floats:
    """Rotate [..., head_dim] by angles [..., head_dim / 2]."""
    a, b = np.split(x, 2, axis=-1)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rope(x: Ints, cos: Ints, sin: Ints, extra: int) -> Ints:
    """Rotate integer sums [..., head_dim] by table rows [..., head_dim / 2].

    Returns 24-bit words with `extra` more fraction bits than `x`.
    """
    a, b = np.split(x, 2, axis=-1)
    turned = np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    return saturate(round_shift(turned, TABLE_FRACTION_BITS - extra), WORD_BITS)
