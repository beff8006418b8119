# SPDX-License-Identifier: Apache-2.0
"""Memory words that survive a flipped bit, as Python integers.

A word is cut into parts (:meth:`golden_model.memory_config.SecdedConfig.parts`).  A part is stored
as its data bits with its check bits above them; parts follow each other from the lowest bit.
"""

from enum import Enum
from typing import NamedTuple

from golden_model.memory_config import SecdedConfig

__all__ = ["Decoded", "State", "decode", "decode_word", "encode", "encode_word"]


class State(Enum):
    """What a decoder found."""

    CLEAN = 0
    CORRECTED = 1
    UNCORRECTABLE = 2


class Decoded(NamedTuple):
    """A decoded word; what `data` is where the state is uncorrectable does not matter."""

    data: int
    state: State


def _syndrome(config: SecdedConfig, data: int, checks: int) -> int:
    for bit, column in enumerate(config.columns):
        if data >> bit & 1:
            checks ^= column
    return checks


def encode(config: SecdedConfig, data: int) -> int:
    """Put check bits above the data bits, such that the columns of all set bits add up to 0."""
    return data | _syndrome(config, data, 0) << config.data_bits


def decode(config: SecdedConfig, word: int) -> Decoded:
    """Find the one column, if any, that explains the syndrome."""
    data, checks = word & (1 << config.data_bits) - 1, word >> config.data_bits
    syndrome = _syndrome(config, data, checks)
    if syndrome == 0:
        return Decoded(data, State.CLEAN)
    if syndrome in config.columns:
        return Decoded(data ^ 1 << config.columns.index(syndrome), State.CORRECTED)
    one_check_bit = syndrome & syndrome - 1 == 0
    return Decoded(data, State.CORRECTED if one_check_bit else State.UNCORRECTABLE)


def encode_word(width: int, data: int) -> int:
    """Encode all parts of a word of `width` bits."""
    stored, shift = 0, 0
    for part in SecdedConfig.parts(width):
        stored |= encode(part, data & (1 << part.data_bits) - 1) << shift
        data >>= part.data_bits
        shift += part.word_bits
    return stored


def decode_word(width: int, stored: int) -> Decoded:
    """Decode all parts; the word's state is its worst part's."""
    data, shift, worst = 0, 0, State.CLEAN
    for part in SecdedConfig.parts(width):
        found = decode(part, stored & (1 << part.word_bits) - 1)
        data |= found.data << shift
        worst = max(worst, found.state, key=lambda state: state.value)
        stored >>= part.word_bits
        shift += part.data_bits
    return Decoded(data, worst)
