# SPDX-License-Identifier: Apache-2.0
"""Stored words of keys or values, and beside keys all scales, as bits that may flip."""

from collections.abc import Sequence
from typing import NamedTuple

from golden_model.kv.row_walk import Address
from golden_model.kv.secded import State, decode_word, encode_word
from golden_model.kv_config import SCALE_BITS, KvCacheConfig

__all__ = ["MEMORIES", "Bank", "Found"]

MEMORIES = ("codes", "sinks", "scales", "value_scales")


class Found(NamedTuple):
    """One word with its row's scale and its value row's; zeros where they cannot be told."""

    codes: tuple[int, ...]
    scale: int
    value_scale: int
    state: State


class Bank:
    """Codes, first tokens' codes; of `keys` also scales, the values' among them."""

    def __init__(self, config: KvCacheConfig, keys: bool = True) -> None:
        self.config, self.keys = config, keys
        self.widths = {"codes": config.lanes * config.kv_bits,
                       "sinks": config.lanes * config.bos_bits, "scales": SCALE_BITS,
                       "value_scales": SCALE_BITS}
        memories = config.key_memories if keys else config.value_memories
        self.words = {name: [0] * memory.depth for name, memory in zip(MEMORIES, memories)}

    def _encode(self, name: str, data: int) -> int:
        return encode_word(self.widths[name], data) if self.config.secded else data

    def _decode(self, name: str, address: int) -> tuple[int, State]:
        stored = self.words[name][address]
        return decode_word(self.widths[name], stored) if self.config.secded else (stored,
                                                                                 State.CLEAN)

    def write(self, at: Address, codes: Sequence[int], scale: int) -> None:
        """Store a word, and its row's scale with the last one."""
        name, bits = ("sinks", self.config.bos_bits) if at.bos else ("codes", self.config.kv_bits)
        self.words[name][at.code] = self._encode(
            name, sum((code & (1 << bits) - 1) << bits * n for n, code in enumerate(codes)))
        if at.last_word and self.keys:
            self.words["scales"][at.scale] = self._encode("scales", scale)

    def write_scale(self, at: Address, scale: int) -> None:
        """Store a value row's scale."""
        self.words["value_scales"][at.scale] = self._encode("value_scales", scale)

    def read(self, at: Address) -> Found:
        """Read a word and, of keys, both scales."""
        name, bits = ("sinks", self.config.bos_bits) if at.bos else ("codes", self.config.kv_bits)
        data, state = self._decode(name, at.code)
        scales = [self._decode(name, at.scale) for name in MEMORIES[2:] if self.keys]
        worst = max([state, *(other for _, other in scales)], key=lambda one: one.value)
        if worst is State.UNCORRECTABLE:
            return Found((0,) * self.config.lanes, 0, 0, worst)
        scale, value_scale = (found for found, _ in scales or [(0, State.CLEAN)] * 2)
        return Found(tuple(data >> bits * n & (1 << bits) - 1 for n in range(self.config.lanes)),
                     scale, value_scale, worst)

    def flip(self, name: str, address: int, bit: int) -> None:
        """Flip one stored bit."""
        self.words[name][address] ^= 1 << bit

    def scrub(self, number: int) -> State:
        """Mend the word of that number in each memory that has one; return the worst state."""
        worst = State.CLEAN
        for name, words in self.words.items():
            if number < len(words):
                data, state = self._decode(name, number)
                if state is State.CORRECTED:
                    words[number] = self._encode(name, data)
                worst = max(worst, state, key=lambda one: one.value)
        return worst
