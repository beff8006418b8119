# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.mac.digit_words`."""

from golden_model.config import DIGIT_WEIGHT_BITS

__all__ = ["digit_words"]


def digit_words(tile: list[int], two: bool) -> list[list[int]]:
    """Words of one tile of codes: itself, or signed high nibbles and unsigned low ones."""
    if not two:
        return [tile]
    return [[code >> DIGIT_WEIGHT_BITS for code in tile],
            [code & (1 << DIGIT_WEIGHT_BITS) - 1 for code in tile]]
