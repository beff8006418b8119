# SPDX-License-Identifier: Apache-2.0
"""Parameters of what surrounds the decoder: image loader and check, AXI port, token loop."""

from dataclasses import dataclass, field

from golden_model.bus_config import AxiReadConfig
from golden_model.config import _LATER, _at_least, _ceil_div, _one_of, _require
from golden_model.image_config import BlockMemoryConfig, ImagePortConfig
from golden_model.instruction_config import HEADER_BITS, INSTRUCTION_BITS
from golden_model.kv_config import KvCacheConfig

__all__ = ["AxiPortConfig", "ImageCheckConfig", "ImageLoaderConfig", "SystemConfig",
           "TokenLoopConfig"]


@dataclass(frozen=True, kw_only=True)
class ImageLoaderConfig:
    """Geometry of what makes beats of words that the host writes."""

    memory: BlockMemoryConfig

    @property
    def words(self) -> int:
        """Words of 32 bits that a beat takes."""
        return _ceil_div(self.memory.port.beat_bits, 32)


@dataclass(frozen=True, kw_only=True)
class ImageCheckConfig:
    """Geometry of what checks an image ahead of its use."""

    port: ImagePortConfig
    config_hash: str
    """That the image has to name: 16 hexadecimal digits."""
    depth: int
    """Beats of the memory; a longer image is refused."""
    step: int = 4
    """Bytes a cycle."""
    burst: int = 64
    """Beats that are asked for at once."""

    def __post_init__(self) -> None:
        _at_least(self, depth=1, step=4, burst=1)
        _require(len(self.config_hash) == 16 and set(self.config_hash) <= set("0123456789abcdef"),
                 f"config_hash must be 16 hexadecimal digits, not {self.config_hash!r}")
        _require(self.port.beat_bits % 8 == 0 and self.port.beat_bits >= 64,
                 f"port.beat_bits must be a multiple of 8, at least 64, not {self.port.beat_bits}")
        _require(self.step in (4, 8), f"step must be one of 4, 8, not {self.step}")
        _require(self.burst < 1 << self.port.count_bits,
                 f"burst must be below {1 << self.port.count_bits}, not {self.burst}")

    @property
    def beat_bytes(self) -> int:
        """Bytes of a beat."""
        return self.port.beat_bits // 8

    @property
    def header_beats(self) -> int:
        """Beats of the header."""
        return _ceil_div(HEADER_BITS, self.port.beat_bits)

    @property
    def instruction_beats(self) -> int:
        """Beats of an instruction."""
        return _ceil_div(INSTRUCTION_BITS, self.port.beat_bits)

    @property
    def judging(self) -> int:
        """Cycles from the look at a header to what comes of it."""
        return 1

    @property
    def steps(self) -> int:
        """Cycles that a beat takes."""
        return _ceil_div(self.beat_bytes, self.step)


@dataclass(frozen=True, kw_only=True)
class AxiPortConfig:
    """Geometry of what reads beats of an image over AXI4."""

    port: ImagePortConfig
    axi: AxiReadConfig = field(default_factory=AxiReadConfig)
    in_flight: int = 8
    """Requests that may be under way."""

    def __post_init__(self) -> None:
        _at_least(self, in_flight=1)
        most = ((1 << self.port.count_bits) - 1) * self.words
        _require(self.axi.max_beats >= most,
                 f"axi.max_beats must be at least {most} for bursts of port.count_bits = "
                 f"{self.port.count_bits}, not {self.axi.max_beats}")

    @property
    def stride_bits(self) -> int:
        """Bits of memory that a beat takes: its own, up to a power of two of bytes."""
        return max(8, 1 << (self.port.beat_bits - 1).bit_length())

    @property
    def words(self) -> int:
        """Words of the bus that a beat takes, at least 1."""
        return max(1, self.stride_bits // self.axi.data_bits)

    @property
    def per_word(self) -> int:
        """Beats in a word of the bus, at least 1."""
        return max(1, self.axi.data_bits // self.stride_bits)

    @property
    def shift(self) -> int:
        """Zero bits at the end of a beat's byte address."""
        return (self.stride_bits // 8).bit_length() - 1


@dataclass(frozen=True, kw_only=True)
class TokenLoopConfig:
    """Geometry of what feeds the decoder with tokens."""

    cache: KvCacheConfig

    @property
    def slots(self) -> int:
        """Sequences."""
        return self.cache.slots

    @property
    def gap(self) -> int:
        """Cycles from a token's end to its successor's start, if nobody is waited for.

        Into the queue, out of the loop, look at its position.
        """
        return 3


@dataclass(frozen=True, kw_only=True)
class SystemConfig:
    """What makes the units an accelerator: buses, memory of the image, KV cache."""

    bus: str = "axi_lite"
    """Control bus: ``axi_lite``, ``wishbone`` (classic) or ``wishbone_pipelined``."""
    memory: str = "block"
    """Where the image is: ``block``, in memory on the chip, or ``axi``, behind a read master."""
    depth: int = 4096
    """Beats of the image: of the memory on the chip, or the most that are read over AXI4."""
    data_bits: int = 128
    """Width of the AXI4 port."""
    outstanding: int = 8
    """AXI4 bursts that may be under way."""
    prompt_depth: int = 32
    """Tokens that the queue of the prompt holds."""
    generated_depth: int = 32
    slots: int = 1
    """Sequences in the KV cache."""
    secded: bool = field(default=False, metadata=_LATER)
    """Whether the cache corrects single flipped bits of a word and reports double ones."""
    streams: int = 12
    """KV heads of all layers."""
    heads: int = 8
    """Most heads of a layer."""
    queries: int = 1
    """Heads that attend at once: they share a KV head."""
    head_lanes: int = 32
    """Elements of a head that attention takes in a cycle."""
    head_words: int = 1
    """Cycles of the longest head."""
    grouped: bool = field(default=False, metadata=_LATER)
    """Whether rows of Wq, Wk and Wv lie KV head by KV head, queries first, so that attention begins
    earlier."""
    abreast: int = 2
    """Softmax weights of a head that are made in a cycle."""
    digits: int = 3
    """Quotient digits a cycle of attention's scalar units: fewer carry a faster clock."""
    rows_per_stage: int = field(default=3, metadata=_LATER)
    """Rows that attention's multipliers add up in a cycle: fewer carry a faster clock."""
    max_vocab: int = 4096

    def __post_init__(self) -> None:
        _one_of(self, bus=("axi_lite", "wishbone", "wishbone_pipelined"), memory=("block", "axi"),
                secded=(False, True), grouped=(False, True), data_bits=(64, 128, 256, 512))
        _at_least(self, depth=4, outstanding=1, prompt_depth=2, generated_depth=2, slots=1,
                  streams=1, heads=1, queries=1, head_lanes=2, head_words=1, rows_per_stage=1,
                  max_vocab=2)
        _require(self.depth <= 1 << 28, f"depth must be at most {1 << 28}, not {self.depth}")
        for name in ("prompt_depth", "generated_depth"):
            _require(getattr(self, name) < 1 << 16,
                     f"{name} must be below {1 << 16}, not {getattr(self, name)}")
        _require(self.heads % self.queries == 0,
                 f"heads must be a multiple of queries ({self.queries}), not {self.heads}")

    @property
    def address_bits(self) -> int:
        """Bits of a beat's address."""
        return max(13, self.depth.bit_length())

    @property
    def axi(self) -> AxiReadConfig:
        """Configuration of the read master: bursts of half a page at most, a buffer of eight."""
        burst = min(32, 2048 * 8 // self.data_bits)
        return AxiReadConfig(data_bits=self.data_bits, outstanding=self.outstanding,
                             max_burst=burst, buffer_beats=8 * burst, address_bits=40,
                             max_beats=1 << 28)
