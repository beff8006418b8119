# SPDX-License-Identifier: Apache-2.0
"""Parameters of the sparse INT8 path: top-K, compaction, sparse product, row gather."""

from dataclasses import dataclass

from golden_model.config import (
    TernaryDotConfig,
    UnpackerConfig,
    _at_least,
    _ceil_div,
    _one_of,
    _require,
)
from golden_model.quant_config import NormQuantiserConfig

__all__ = [
    "CODE_PEAK",
    "CompactorConfig",
    "MaskedLinearConfig",
    "RowGatherConfig",
    "SelectorConfig",
    "SparseProductConfig",
    "TopKConfig",
]

CODE_PEAK = 128
"""Largest magnitude of an INT8 code."""

_LANES = (1, 2, 4, 8, 16)
_COARSE_BINS = 9
_FINE_BINS = 16


@dataclass(frozen=True, kw_only=True)
class CompactorConfig:
    """Geometry of one compactor: `lanes` codes a beat in, kept (index, code) pairs out."""

    lanes: int = 4
    max_n: int = 16_384
    """Longest vector, in elements."""
    drop_zeros: bool = True
    """Whether a lane whose code is zero is left out although it is marked as kept."""
    queue: int = 4
    """Beats with something to emit that wait between the two streams."""
    emit: int = 1
    """Most elements of one beat that leave in a cycle."""

    def __post_init__(self) -> None:
        _one_of(self, lanes=_LANES)
        _one_of(self, emit=tuple(lanes for lanes in _LANES if lanes <= self.lanes))
        _at_least(self, max_n=1, queue=1)
        _require(self.max_n <= 1 << 20, f"max_n must be at most {1 << 20}, not {self.max_n}")
        _require(self.queue <= 64, f"queue must be at most 64, not {self.queue}")

    @property
    def max_beats(self) -> int:
        """Beats of the longest vector."""
        return _ceil_div(self.max_n, self.lanes)

    @property
    def latency(self) -> int:
        """Clock cycles from a beat on ``i`` to its first element on ``o``."""
        return 1


@dataclass(frozen=True, kw_only=True)
class SelectorConfig:
    """Geometry of a threshold search: `lanes` magnitudes a beat in, one threshold a segment out."""

    lanes: int = 4
    max_n: int = 16_384
    """Most elements of one segment."""

    def __post_init__(self) -> None:
        _one_of(self, lanes=_LANES)
        _at_least(self, max_n=1)
        _require(self.max_n <= 1 << 20, f"max_n must be at most {1 << 20}, not {self.max_n}")

    @property
    def max_beats(self) -> int:
        """Beats of the longest segment."""
        return _ceil_div(self.max_n, self.lanes)

    @property
    def histogram_latency(self) -> int:
        """Cycles from a segment's last beat to its threshold, from histograms.

        Nine coarse bins, then the sixteen fine bins of one of them, each read, summed over the
        lanes and compared; one cycle writes the last beat, one presents the result.
        """
        return (_COARSE_BINS + 2) + (_FINE_BINS + 2) + 2

    @property
    def histogram_clear(self) -> int:
        """Cycles after the threshold is taken until the next segment may start."""
        return CODE_PEAK

    @property
    def bit_serial_latency(self) -> int:
        """Cycles from a segment's last beat to its threshold, bit by bit."""
        return CODE_PEAK.bit_length() + 1


@dataclass(frozen=True, kw_only=True)
class TopKConfig:
    """Geometry of one top-K unit: `lanes` codes a beat, vectors of up to `max_n` elements."""

    lanes: int = 4
    max_n: int = 16_384
    block_size: int = 32
    """Elements of one block in block mode; 0 leaves block mode out."""
    queue: int = 4
    """Beats that wait for the compacted stream."""
    emit: int = 1
    """Most elements that leave in a cycle: half of the lanes keep up with a selection of all."""

    def __post_init__(self) -> None:
        _at_least(self, block_size=0)
        _ = self.compactor, self.selector  # their limits are this configuration's too
        if self.block_size:
            size = self.block_size
            _require(size & size - 1 == 0 and 2 * self.lanes <= size <= 256,
                     f"block_size must be 0 or a power of two from {2 * self.lanes} (two beats) "
                     f"to 256, not {size}")

    @property
    def compactor(self) -> CompactorConfig:
        """Configuration of the compacted stream; zeros are dropped on command, ahead of it."""
        return CompactorConfig(lanes=self.lanes, max_n=self.max_n, drop_zeros=False,
                               queue=self.queue, emit=self.emit)

    @property
    def selector(self) -> SelectorConfig:
        """Configuration of the search over a whole vector."""
        return SelectorConfig(lanes=self.lanes, max_n=self.max_n)

    @property
    def block_selector(self) -> SelectorConfig:
        """Configuration of the search within one block."""
        return SelectorConfig(lanes=self.lanes, max_n=self.block_size)

    @property
    def max_beats(self) -> int:
        """Beats of the longest vector."""
        return self.selector.max_beats

    @property
    def latency(self) -> int:
        """Cycles from a vector's last beat on ``i`` to its first mask beat, block mode off."""
        return self.selector.histogram_latency + 1


@dataclass(frozen=True, kw_only=True)
class SparseProductConfig:
    """Geometry of one INT8 x ternary product that skips zero channels."""

    width: int = 16
    """Outputs that one channel adds to in a cycle: ternary multiply-accumulates a cycle."""
    max_n: int = 16_384
    """Most channels."""
    max_m: int = 4096
    """Most outputs."""
    packing: str = "base3"
    in_flight: int = 8
    """Columns that may be under way from the weight memory."""
    zeros: bool = True
    """Whether codes of zero come, too; without, whoever sends the channels leaves them out."""

    def __post_init__(self) -> None:
        _at_least(self, width=1, max_n=1, max_m=1, in_flight=1)
        _require(self.width <= 1024, f"width must be at most 1024, not {self.width}")
        _require(self.max_n <= 1 << 20, f"max_n must be at most {1 << 20}, not {self.max_n}")
        _require(self.max_m <= 1 << 20, f"max_m must be at most {1 << 20}, not {self.max_m}")
        _require(self.in_flight <= 256, f"in_flight must be at most 256, not {self.in_flight}")
        _ = self.unpacker

    @property
    def unpacker(self) -> UnpackerConfig:
        """Configuration of the weight unpacker, one beat of `width` trits."""
        return UnpackerConfig(trits=self.width, packing=self.packing)

    @property
    def max_blocks(self) -> int:
        """Beats of the longest column."""
        return _ceil_div(self.max_m, self.width)

    @property
    def sum_bits(self) -> int:
        """Signed bits of an output: every channel may hold the largest code."""
        return (CODE_PEAK * self.max_n).bit_length() + 1

    @property
    def latency(self) -> int:
        """Cycles from a beat of the last column on ``i_weights`` to its sums on ``o``."""
        return 3


@dataclass(frozen=True, kw_only=True)
class MaskedLinearConfig:
    """Geometry of one norm, quantiser, mask and sparse product: the path of Wo and of Wdown."""

    lanes: int = 4
    """Words a beat."""
    max_n: int = 16_384
    """Longest vector, in elements."""
    max_m: int = 4096
    """Most outputs."""
    width: int = 16
    """Outputs that one channel adds to in a cycle."""
    packing: str = "base3"
    in_flight: int = 8
    """Columns that may be under way from the weight memory."""
    block_size: int = 0
    """Elements of one block of a block-wise top-K; 0 leaves that out."""
    queue: int = 4
    """Beats of codes that wait for the product."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        # Their limits are this configuration's too.
        _ = self.quantiser, self.top_k, self.compactor, self.product

    @property
    def quantiser(self) -> NormQuantiserConfig:
        """Configuration of the norm and quantiser."""
        return NormQuantiserConfig(lanes=self.lanes, max_n=self.max_n, form=self.form,
                                   rows_per_stage=self.rows_per_stage)

    @property
    def top_k(self) -> TopKConfig:
        """Configuration of the selection, in the mode that has one."""
        return TopKConfig(lanes=self.lanes, max_n=self.max_n, block_size=self.block_size,
                          queue=self.queue)

    @property
    def compactor(self) -> CompactorConfig:
        """Configuration of what drops zero codes, in the mode without selection."""
        return CompactorConfig(lanes=self.lanes, max_n=self.max_n, queue=self.queue)

    @property
    def product(self) -> SparseProductConfig:
        """Configuration of the product."""
        return SparseProductConfig(width=self.width, max_n=self.max_n, max_m=self.max_m,
                                   packing=self.packing, in_flight=self.in_flight, zeros=False)


@dataclass(frozen=True, kw_only=True)
class RowGatherConfig:
    """Geometry of one product that computes active rows only, `width` elements a cycle."""

    width: int = 16
    max_k: int = 4096
    """Longest activation vector, in elements."""
    max_rows: int = 16_384
    digit_bits: int = 4
    levels_per_stage: int = 2
    packing: str = "base3"
    in_flight: int = 8
    """Rows that may be under way from the weight memory."""

    def __post_init__(self) -> None:
        _at_least(self, max_k=1, max_rows=1, in_flight=1)
        _require(self.max_k <= 1 << 20, f"max_k must be at most {1 << 20}, not {self.max_k}")
        _require(self.max_rows <= 1 << 20,
                 f"max_rows must be at most {1 << 20}, not {self.max_rows}")
        _require(self.in_flight <= 256, f"in_flight must be at most 256, not {self.in_flight}")
        _ = self.dot, self.unpacker

    @property
    def dot(self) -> TernaryDotConfig:
        """Configuration of the dot product."""
        return TernaryDotConfig(lanes=self.width, digit_bits=self.digit_bits,
                                levels_per_stage=self.levels_per_stage)

    @property
    def unpacker(self) -> UnpackerConfig:
        """Configuration of the weight unpacker, one beat of `width` trits."""
        return UnpackerConfig(trits=self.width, packing=self.packing)

    @property
    def max_blocks(self) -> int:
        """Beats of the longest row."""
        return _ceil_div(self.max_k, self.width)

    @property
    def sum_bits(self) -> int:
        """Signed bits of an output."""
        return ((1 << self.digit_bits - 1) * self.max_blocks * self.width).bit_length() + 1

    @property
    def latency(self) -> int:
        """Cycles from a row's last beat on ``i_weights`` to its sum on ``o``."""
        return 1 + 1 + self.dot.latency + 1
