# SPDX-License-Identifier: Apache-2.0
"""Parameters of what stands between the memory image and its readers (standard library only)."""

import dataclasses
from dataclasses import dataclass

from golden_model.config import UnpackerConfig, _at_least, _require

__all__ = ["BlockMemoryConfig", "BurstAddressConfig", "ImageHubConfig", "ImagePortConfig",
           "SplitterConfig", "TritPortConfig", "VectorReaderConfig"]


@dataclass(frozen=True, kw_only=True)
class ImagePortConfig:
    """Shape of one port on the memory image: bursts asked for, beats given."""

    beat_bits: int
    """Bits of one beat: packed trits of one cycle."""
    address_bits: int = 24
    """Bits of an address; the unit is a beat."""
    count_bits: int = 20
    """Bits of the number of beats in one burst."""

    def __post_init__(self) -> None:
        _at_least(self, beat_bits=1, address_bits=1, count_bits=1)
        _require(self.address_bits <= 40,
                 f"address_bits must be at most 40, not {self.address_bits}")
        _require(self.count_bits <= 32, f"count_bits must be at most 32, not {self.count_bits}")


@dataclass(frozen=True, kw_only=True)
class BlockMemoryConfig:
    """Geometry of an image on the chip."""

    port: ImagePortConfig
    depth: int
    """Beats."""

    def __post_init__(self) -> None:
        _at_least(self, depth=1)
        _require(self.depth <= 1 << self.port.address_bits,
                 f"depth must be at most {1 << self.port.address_bits} (port.address_bits = "
                 f"{self.port.address_bits}), not {self.depth}")

    @property
    def latency(self) -> int:
        """Cycles from a request to its first beat: address register, memory."""
        return 2


@dataclass(frozen=True, kw_only=True)
class ImageHubConfig:
    """Geometry of what shares one port among several readers."""

    port: ImagePortConfig
    clients: int
    in_flight: int = 16
    """Bursts that may be under way, all readers together."""

    def __post_init__(self) -> None:
        _at_least(self, clients=1, in_flight=1)
        _require(self.in_flight <= 256, f"in_flight must be at most 256, not {self.in_flight}")


@dataclass(frozen=True, kw_only=True)
class BurstAddressConfig:
    """Geometry of what turns a row's or column's index into its burst."""

    port: ImagePortConfig
    max_index: int

    def __post_init__(self) -> None:
        _at_least(self, max_index=1)

    @property
    def latency(self) -> int:
        """Cycles from an index to its burst."""
        return 2


@dataclass(frozen=True, kw_only=True)
class SplitterConfig:
    """Geometry of what cuts beats of the image into words of a vector or a table."""

    beat_bits: int
    word_bits: int
    max_words: int = 1 << 16

    def __post_init__(self) -> None:
        _at_least(self, beat_bits=1, word_bits=1, max_words=1)
        _require(self.word_bits <= self.beat_bits,
                 f"word_bits must be at most beat_bits ({self.beat_bits}), not {self.word_bits}")

    @property
    def per_beat(self) -> int:
        """Words in one beat, the first in the lowest bits; what is left of it is not used."""
        return self.beat_bits // self.word_bits

    @property
    def latency(self) -> int:
        """Cycles from a beat to its first word."""
        return 1


@dataclass(frozen=True, kw_only=True)
class TritPortConfig:
    """Geometry of what unpacks the trits of every beat that the image gives."""

    port: ImagePortConfig
    unpacker: UnpackerConfig

    def __post_init__(self) -> None:
        _require(self.port.beat_bits == self.unpacker.packed_bits,
                 f"port.beat_bits must be unpacker.packed_bits ({self.unpacker.packed_bits}), not "
                 f"{self.port.beat_bits}")

    @property
    def trit_bits(self) -> int:
        """Bits of a beat's trits, two each."""
        return 2 * self.unpacker.trits

    @property
    def unpacked(self) -> ImagePortConfig:
        """Port whose beats are the packed bits, then the trits."""
        return dataclasses.replace(self.port, beat_bits=self.port.beat_bits + self.trit_bits)

    @property
    def latency(self) -> int:
        """Cycles from a beat to its trits."""
        return self.unpacker.latency


@dataclass(frozen=True, kw_only=True)
class VectorReaderConfig:
    """Geometry of what fetches a vector of the image and gives it several times."""

    port: ImagePortConfig
    word_bits: int
    max_words: int
    max_passes: int = 255
    batch: int = 1
    """Vectors that are kept."""

    def __post_init__(self) -> None:
        _at_least(self, max_passes=1, batch=1)
        _ = self.splitter

    @property
    def splitter(self) -> SplitterConfig:
        """What cuts beats into words."""
        return SplitterConfig(beat_bits=self.port.beat_bits, word_bits=self.word_bits,
                              max_words=self.max_words)

    @property
    def depth(self) -> int:
        """Words of the memory: of several vectors each has whole bits of an address."""
        if self.batch == 1:
            return self.max_words
        return self.batch << self.max_words.bit_length()

    @property
    def latency(self) -> int:
        """Cycles from a beat to its first word on ``o``: splitter, memory."""
        return self.splitter.latency + 2
