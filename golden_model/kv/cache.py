# SPDX-License-Identifier: Apache-2.0
"""The KV cache by what it means: every row of a sequence is kept, and a read picks what is seen.

It knows nothing of rings and addresses, so that the hardware has an independent oracle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from golden_model.attention.attend import visible
from golden_model.kv.deserialiser import rows_of_beats
from golden_model.kv.row_walk import Geometry
from golden_model.kv.serialiser import row_beats
from golden_model.kv_config import KvCacheConfig

__all__ = ["KvCache", "Row", "Word"]


class Word(NamedTuple):
    """One word on ``o_k`` or ``o_v``; the latter has no scales."""

    codes: tuple[int, ...]
    scale: int
    value_scale: int
    bos: bool
    last_word: bool
    last: bool


class Row(NamedTuple):
    """A stored row."""

    words: tuple[tuple[int, ...], ...]
    scale: int


@dataclass
class _Sequence:
    """One slot: complete tokens, and all rows of each side and stream."""

    tokens: int = 0
    rows: dict[tuple[bool, int], list[Row]] = field(default_factory=dict)


class KvCache:
    """Commands in the order in which the hardware accepts them; `errors` gathers their names."""

    def __init__(self, config: KvCacheConfig) -> None:
        self.config = config
        self.geometry: Geometry | None = None
        self.slots: dict[int, _Sequence] = {}
        self.errors: set[str] = set()

    def configure(self, slots: int, streams: int, words: int, window: int) -> None:
        """Set the model's geometry; no slot is open afterwards."""
        config, new = self.config, Geometry(slots, streams, words, window)
        self.slots = {}
        fits = (0 < slots <= config.slots and 0 < streams and 0 < words <= config.row_words
                and 2 <= window <= config.window and new.stride <= config.sinks
                and new.stride * new.ring <= config.rows)
        self.geometry = new if fits else None
        if not fits:
            self.errors.add("geometry")

    def clear(self, slot: int) -> bool:
        """Open a slot without tokens; return whether there is such a slot."""
        if self.geometry is None or slot >= self.geometry.slots:
            self.errors.add("slot")
            return False
        self.slots[slot] = _Sequence()
        for side in (False, True):
            for stream in range(self.geometry.streams):
                self.slots[slot].rows[side, stream] = []
        return True

    def _stream(self, slot: int, stream: int) -> _Sequence | None:
        """Return an open slot that has that stream, or note what is wrong."""
        if slot not in self.slots:
            self.errors.add("slot")
        elif (False, stream) not in self.slots[slot].rows:
            self.errors.add("stream")
        else:
            return self.slots[slot]
        return None

    def append(self, slot: int, stream: int, value: bool, words: Sequence[Sequence[int]],
               scale: int) -> None:
        """Add the row of the token in progress."""
        sequence = self._stream(slot, stream)
        if sequence is None or self.geometry is None:
            return
        rows = sequence.rows[value, stream]
        if len(rows) > sequence.tokens:
            self.errors.add("overwrite")
        elif len(words) != self.geometry.words:
            self.errors.add("row")
            del self.slots[slot]
        else:
            bits = self.config.kv_bits if rows else self.config.bos_bits
            rows.append(Row(tuple(tuple(code & (1 << bits) - 1 for code in word)
                                  for word in words), scale))

    def advance(self, slot: int) -> None:
        """Complete the token in progress."""
        if slot not in self.slots:
            self.errors.add("slot")
        elif any(len(rows) == self.slots[slot].tokens for rows in self.slots[slot].rows.values()):
            self.errors.add("incomplete")
        else:
            self.slots[slot].tokens += 1

    def read(self, slot: int, stream: int, value: bool) -> list[Word]:
        """Rows that the newest token sees; where there are none, one row of zeros."""
        sequence = self._stream(slot, stream)
        count = 1 if self.geometry is None else self.geometry.words
        if sequence is not None and not sequence.rows[value, stream]:
            self.errors.add("unwritten")
        if sequence is None or not sequence.rows[value, stream]:
            zeros = (0,) * self.config.lanes
            return [Word(zeros, 0, 0, False, n == count - 1, n == count - 1) for n in range(count)]
        seen = self._seen(sequence.rows[value, stream])
        return [Word(word, *scales, bos, n == count - 1, last and n == count - 1)
                for (row, bos, last), scales in zip(seen, self._scales(sequence, stream, value))
                for n, word in enumerate(row.words)]

    def _scales(self, sequence: _Sequence, stream: int, value: bool) -> list[tuple[int, int]]:
        """Scales of the visible rows of keys, and of values if both sides are equally long."""
        if value:
            return [(0, 0)] * len(sequence.rows[True, stream])
        keys, values = (sequence.rows[side, stream] for side in (False, True))
        both = len(keys) == len(values)
        return [(keys[token].scale, values[token].scale if both else 0)
                for token in self._tokens(keys)]

    def _seen(self, rows: list[Row]) -> list[tuple[Row, bool, bool]]:
        """Pick what the newest row's token sees; tell the first token's row and the last one."""
        seen = self._tokens(rows)
        return [(rows[token], token == 0, token == seen[-1]) for token in seen]

    def _tokens(self, rows: list[Row]) -> list[int]:
        window = self.geometry.window if self.geometry else 2
        seen: list[int] = visible(len(rows) - 1, 1, window)[0].nonzero()[0].tolist()
        return seen

    def length(self, slot: int) -> int:
        """Tokens that a slot holds."""
        window = self.geometry.window if self.geometry else 0
        return min(self.slots[slot].tokens, window) if slot in self.slots else 0

    def save(self, slot: int) -> list[int]:
        """Beats of a whole sequence; none if that does not work."""
        if slot not in self.slots:
            self.errors.add("slot")
            return []
        sequence = self.slots[slot]
        if any(len(rows) != sequence.tokens for rows in sequence.rows.values()):
            self.errors.add("incomplete")
            return []
        if sequence.tokens == 0:
            self.errors.add("unwritten")
            return []
        return [beat for key in sorted(sequence.rows) for row, *_ in self._seen(sequence.rows[key])
                for beat in row_beats(row.words, row.scale)]

    def restore(self, slot: int, length: int, beats: Sequence[int]) -> None:
        """Open a slot with `length` saved tokens."""
        if self.geometry is None or slot >= self.geometry.slots:
            self.errors.add("slot")
            return
        if not 0 < length <= self.geometry.window:
            self.errors.add("length")
            return
        self.clear(slot)
        saved = rows_of_beats(self.config, self.geometry.words, beats)
        sequence = self.slots[slot]
        for key in sorted(sequence.rows):
            for token in range(length):
                words, scale = next(saved)
                bits = self.config.kv_bits if token else self.config.bos_bits
                sequence.rows[key].append(Row(tuple(
                    tuple(code & (1 << bits) - 1 for code in word) for word in words), scale))
        sequence.tokens = length
