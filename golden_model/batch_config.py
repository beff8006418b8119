# SPDX-License-Identifier: Apache-2.0
"""Parameters of the sparse path for several tokens that share each weight fetched."""

from dataclasses import dataclass

from golden_model.config import MAX_BATCH, _at_least, _require
from golden_model.sparse_config import RowGatherConfig, SparseProductConfig

__all__ = ["BatchGatherConfig", "BatchProductConfig", "ChannelUnionConfig", "MAX_WORDS",
           "TokenStoreConfig"]

MAX_WORDS = 1 << 20
"""Most words of a memory that holds what belongs to each token."""


def _check_batch(config: object, batch: int, words: int, knob: str) -> None:
    """Refuse a batch out of range, or one whose memory would hold more than `MAX_WORDS` words."""
    _at_least(config, batch=1)
    _require(batch <= MAX_BATCH, f"batch must be at most {MAX_BATCH}, not {batch}")
    _require(batch * words <= MAX_WORDS,
             f"batch must be at most {MAX_WORDS // words} for {words} words a token, not {batch}; "
             f"lower batch or {knob}")


@dataclass(frozen=True, kw_only=True)
class BatchProductConfig(SparseProductConfig):
    """Geometry of a sparse product of up to `batch` vectors with the same columns."""

    batch: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_batch(self, self.batch, self.max_blocks, "max_m")

    @property
    def latency(self) -> int:
        """Cycles from a beat of the last column on ``i_weights`` to the first token's sums."""
        return 3


@dataclass(frozen=True, kw_only=True)
class BatchGatherConfig(RowGatherConfig):
    """Geometry of a row gather for up to `batch` vectors."""

    batch: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_batch(self, self.batch, self.max_blocks, "max_k")

    @property
    def latency(self) -> int:
        """Cycles from a row's last beat on ``i_weights`` to its first token's sum on ``o``."""
        return self.unpacker.latency + 1 + self.dot.latency + 1


@dataclass(frozen=True, kw_only=True)
class ChannelUnionConfig:
    """Geometry of what merges the kept channels of up to `batch` vectors."""

    batch: int = 2
    max_n: int = 16_384
    """Longest vector, in elements, each of which may be kept."""

    def __post_init__(self) -> None:
        _at_least(self, max_n=1)
        _require(self.max_n <= MAX_WORDS, f"max_n must be at most {MAX_WORDS}, not {self.max_n}")
        _check_batch(self, self.batch, self.max_n, "max_n")

    @property
    def latency(self) -> int:
        """Cycles from the last vector's end marker on ``i`` to the first channel on ``o``."""
        return 2


@dataclass(frozen=True, kw_only=True)
class TokenStoreConfig:
    """Geometry of what keeps a vector of each of up to `batch` tokens."""

    bits: int
    """Bits of a word."""
    max_words: int
    """Longest vector."""
    batch: int = 2
    interleaved: bool = False
    """Whether words come token by token, or vector by vector."""

    def __post_init__(self) -> None:
        _at_least(self, bits=1, max_words=1)
        _check_batch(self, self.batch, self.max_words, "max_words")

    @property
    def depth(self) -> int:
        """Words of the memory, each token's from a power of two on."""
        return self.batch << max(1, (self.max_words - 1).bit_length())

    @property
    def memory_bits(self) -> int:
        """Bits of the memory."""
        return self.depth * self.bits
