# SPDX-License-Identifier: Apache-2.0
"""Parameters of the KV cache.

What a model needs (layers, heads, head_dim) is data, given to the cache by its `configure` command;
here is what the memories hold.
"""

from dataclasses import dataclass, field

from golden_model.config import _LATER, _at_least, _ceil_div, _one_of, _require
from golden_model.memory_config import SecdedConfig, SramConfig

__all__ = ["BEAT_BITS", "CODE_BITS", "ERRORS", "SCALE_BITS", "KvCacheConfig"]

CODE_BITS = 4
"""Bits of a code on ports; a stored code has ``kv_bits`` or ``bos_bits`` of them."""

SCALE_BITS = 16
"""Bits of a row's scale."""

BEAT_BITS = 32
"""Bits of a word of a saved sequence."""

ERRORS = (
    "geometry",       # configure: zero, or more than the memories hold; or nothing is configured
    "slot",           # a slot that does not exist or was not opened by clear or restore
    "stream",         # a stream that the model does not have
    "unwritten",      # a read of a stream that has no row yet
    "overwrite",      # an append to a stream that already has its row of this token
    "incomplete",     # advance or save while streams lack their row of this token
    "row",            # an appended row with too few or too many words; its slot is closed
    "length",         # restore of no rows, or of more than the window holds
    "uncorrectable",  # a read of a word with two flipped bits
)
"""Sticky errors, in the order of their bits."""


@dataclass(frozen=True, kw_only=True)
class KvCacheConfig:
    """Geometry of one KV cache: keys and values have memories of their own, of this size each."""

    lanes: int = 64
    """Codes in one memory word; a row of n codes takes ``ceil(n / lanes)`` words."""
    rows: int = 1524
    """Rows of all sequences and streams but those of the first tokens: at least
    ``slots * streams * (window - 1)`` for the model."""
    sinks: int = 12
    """Rows of first tokens: at least ``slots * streams``."""
    row_words: int = 1
    """Most words of a row."""
    window: int = 128
    """Most tokens of a sequence, the first one included."""
    slots: int = 1
    """Most sequences."""
    kv_bits: int = 3
    bos_bits: int = 4
    secded: bool = False
    """Whether memory words are protected against flipped bits."""
    scrub_interval: int = 64
    """With `secded`, an idle cycle looks at a word this many cycles after the one before."""
    ports: str = "1r1w"
    """Ports of the memory of codes: with ``1rw`` an appended word costs the reader a cycle."""
    cells: str = "inferred"
    """Kind of memory; ``spram``, which needs ``1rw``, is that of the codes only."""
    batch: int = field(default=1, metadata=_LATER)
    """Most tokens of a sequence that are in progress at a time."""

    def __post_init__(self) -> None:
        _at_least(self, lanes=1, rows=1, sinks=1, row_words=1, window=2, slots=1, scrub_interval=1,
                  batch=1)
        _require(self.lanes <= 1024, f"lanes must be at most 1024, not {self.lanes}")
        _require(self.row_words <= 64, f"row_words must be at most 64, not {self.row_words}")
        _require(self.window <= 4096, f"window must be at most 4096, not {self.window}")
        _require(self.slots <= 64, f"slots must be at most 64, not {self.slots}")
        _require(self.rows >= self.window - 1,
                 f"rows must be at least window - 1 ({self.window - 1}), not {self.rows}")
        _require(self.sinks >= self.slots,
                 f"sinks must be at least slots ({self.slots}), not {self.sinks}")
        _one_of(self, kv_bits=(3, 4), bos_bits=(4,), secded=(False, True), ports=("1r1w", "1rw"))
        _require(self.cells != "spram" or self.ports == "1rw",
                 f"ports must be 1rw with cells spram, not {self.ports}")
        _ = self.key_memories

    @property
    def code_memory(self) -> SramConfig:
        """Codes of all but first tokens."""
        return self._memory(self.rows * self.row_words, self.lanes * self.kv_bits, self.ports)

    @property
    def sink_memory(self) -> SramConfig:
        """Codes of first tokens."""
        return self._memory(self.sinks * self.row_words, self.lanes * self.bos_bits, "1r1w")

    @property
    def scale_memory(self) -> SramConfig:
        """Scales of all rows."""
        return self._memory(self.rows + self.sinks, SCALE_BITS, "1r1w")

    def _memory(self, depth: int, width: int, ports: str) -> SramConfig:
        if self.secded:
            width = sum(part.word_bits for part in SecdedConfig.parts(width))
        cells = "inferred" if self.cells == "spram" and ports != "1rw" else self.cells
        return SramConfig(depth=depth, width=width, ports=ports, cells=cells)

    @property
    def key_memories(self) -> tuple[SramConfig, ...]:
        """Memories beside the keys: their codes, first tokens' codes, scales of keys, of values."""
        return self.code_memory, self.sink_memory, self.scale_memory, self.scale_memory

    @property
    def value_memories(self) -> tuple[SramConfig, ...]:
        """Memories of values, without their scales."""
        return self.key_memories[:2]

    @property
    def memory_bits(self) -> int:
        """Bits of all memories, keys and values."""
        return sum(memory.bits for memory in (*self.key_memories, *self.value_memories))

    def check_fits(self, memory_bits: int, target: str) -> None:
        """Raise ``ValueError`` if `target` has fewer bits of block RAM than the cache takes."""
        _require(self.memory_bits <= memory_bits,
                 f"the KV cache takes {self.memory_bits} bits of memory, {target} has "
                 f"{memory_bits}: lower rows ({self.rows}: slots * streams * (window - 1)) by "
                 "way of the window or slots, or kv_bits")

    def bits_per_element(self, head_dim: int) -> float:
        """Bits of any row but the first, scale included, over its elements."""
        words = _ceil_div(head_dim, self.lanes)
        return (words * self.code_memory.width + self.scale_memory.width) / head_dim

    @property
    def row_beats(self) -> int:
        """Words of a saved sequence that one memory word becomes; a row's scale is one more."""
        return _ceil_div(self.lanes * CODE_BITS, BEAT_BITS)

    @property
    def bank_latency(self) -> int:
        """Cycles from an address to its word."""
        return 2 if self.secded else 1

    @property
    def read_latency(self) -> int:
        """Cycles from a read command to its first word: look-up, walk, memory."""
        return 2 + self.bank_latency
