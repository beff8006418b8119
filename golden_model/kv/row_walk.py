# SPDX-License-Identifier: Apache-2.0
"""Where the cache keeps the rows of a stream."""

from typing import NamedTuple

__all__ = ["Address", "Geometry", "row_addresses"]


class Geometry(NamedTuple):
    """What a model's shape makes of the memories."""

    slots: int
    streams: int
    words: int
    window: int

    @property
    def stride(self) -> int:
        """Addresses between two words of one stream: the streams of all slots."""
        return self.slots * self.streams

    @property
    def ring(self) -> int:
        """Rows of a stream's ring."""
        return self.window - 1


class Address(NamedTuple):
    """One word and its row's scale."""

    bos: bool
    code: int
    scale: int
    last_word: bool
    last: bool


def row_addresses(geometry: Geometry, index: int, rows: list[int | None]) -> list[Address]:
    """Addresses of all words of some rows of stream `index`, counted over all slots.

    A row is its number in the ring, or None for the first token's.
    """
    words, stride = geometry.words, geometry.stride
    sink_scale = geometry.ring * stride + index
    return [
        Address(row is None, ((row or 0) * words + word) * stride + index,
                sink_scale if row is None else row * stride + index,
                word == words - 1, word == words - 1 and number == len(rows) - 1)
        for number, row in enumerate(rows) for word in range(words)]
