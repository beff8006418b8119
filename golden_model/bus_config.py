# SPDX-License-Identifier: Apache-2.0
"""Parameters of the bus side: register file, control slaves, read master, watchdog."""

from dataclasses import dataclass, field

from golden_model.config import _at_least, _one_of, _require
from golden_model.registers import ADDRESS_BITS, MAP_VERSION, REGISTERS, Register

__all__ = ["AxiReadConfig", "ControlConfig", "ControlSlaveConfig", "RegisterFileConfig",
           "WatchdogConfig", "WishboneConfig"]

PAGE_BYTES = 4096
"""No AXI4 burst crosses a multiple of this."""
MAX_BURST = 256
"""Beats of the longest AXI4 burst."""


def _power_of_two(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        _require(value > 0 and value & (value - 1) == 0,
                 f"{name} must be a power of two, not {value}")


@dataclass(frozen=True, kw_only=True)
class ControlSlaveConfig:
    """A slave of the control bus."""

    address_bits: int = ADDRESS_BITS
    """Bits of a byte address; AXI4-Lite takes them all, Wishbone those of a word."""

    def __post_init__(self) -> None:
        _require(3 <= self.address_bits <= 32,
                 f"address_bits must lie in 3..32, not {self.address_bits}")

    @property
    def word_bits(self) -> int:
        """Bits of a word's address."""
        return self.address_bits - 2


@dataclass(frozen=True, kw_only=True)
class WishboneConfig(ControlSlaveConfig):
    """A Wishbone slave."""

    pipelined: bool = False
    """Pipelined instead of classic mode."""


@dataclass(frozen=True, kw_only=True)
class RegisterFileConfig:
    """What the constants of the register file say, and how wide its counters are."""

    config_hash: str = "0" * 16
    """As :func:`golden_model.config.config_hash` returns it."""
    rows: int = 8
    lanes: int = 64
    digit_bits: int = 5
    window: int = 128
    slots: int = 1
    memory_data_bits: int = 0
    """Width of the AXI4 read port; 0: weights are on chip."""
    memory_outstanding: int = 0
    memory_address_bits: int = 0
    prompt_depth: int = 16
    generated_depth: int = 16
    counter_bits: int = 64
    """Bits that a counter has in hardware; the others read as 0."""

    def __post_init__(self) -> None:
        _require(len(self.config_hash) == 16 and set(self.config_hash) <= set("0123456789abcdef"),
                 f"config_hash must be 16 hexadecimal digits, not {self.config_hash!r}")
        _require(33 <= self.counter_bits <= 64,
                 f"counter_bits must lie in 33..64, not {self.counter_bits}")
        for one in REGISTERS:
            if one.kind == "constant":
                for part in one.fields:
                    value = self._values.get((one.name, part.name), part.reset)
                    _require(0 <= value < 1 << part.bits,
                             f"{one.name}.{part.name} must fit {part.bits} bits, not {value}")

    @property
    def registers(self) -> tuple[Register, ...]:
        """The table."""
        return REGISTERS

    @property
    def _values(self) -> dict[tuple[str, str], int]:
        """Fields of constants that the configuration decides."""
        number = int(self.config_hash, 16)
        return {
            ("version", "major"): MAP_VERSION[0], ("version", "minor"): MAP_VERSION[1],
            ("config_hash_low", "value"): number & 0xFFFF_FFFF,
            ("config_hash_high", "value"): number >> 32,
            ("array", "rows"): self.rows, ("array", "lanes"): self.lanes,
            ("array", "digit_bits"): self.digit_bits,
            ("cache", "window"): self.window, ("cache", "slots"): self.slots,
            ("memory", "data_bits"): self.memory_data_bits,
            ("memory", "outstanding"): self.memory_outstanding,
            ("memory", "address_bits"): self.memory_address_bits,
            ("queues", "prompt"): self.prompt_depth,
            ("queues", "generated"): self.generated_depth,
        }

    @property
    def constants(self) -> dict[str, int]:
        """Word of each constant register, by name."""
        values = self._values
        return {one.name: sum(values.get((one.name, part.name), part.reset) << part.low
                              for part in one.fields)
                for one in REGISTERS if one.kind == "constant"}

    @property
    def latency(self) -> int:
        """Cycles from a request to its response."""
        return 1


@dataclass(frozen=True, kw_only=True)
class AxiReadConfig:
    """Geometry of the AXI4 read master.

    The bus stays busy if ``outstanding`` bursts, and ``buffer_beats`` beats, last for as long as
    the memory takes to answer (`beats_in_flight`).
    """

    data_bits: int = 128
    address_bits: int = 32
    id_bits: int = 1
    max_burst: int = 16
    """Beats; bursts end at multiples of this, so that none crosses a page."""
    outstanding: int = 8
    buffer_beats: int = 256
    """Beats that were asked for and not yet taken; a power of two fills its memory best."""
    max_beats: int = 1 << 24
    """Beats of the longest command."""

    def __post_init__(self) -> None:
        _one_of(self, data_bits=(64, 128, 256, 512))
        _at_least(self, id_bits=1, outstanding=1, buffer_beats=2, max_beats=1)
        _require(13 <= self.address_bits <= 64,
                 f"address_bits must lie in 13..64, not {self.address_bits}")
        _require(self.id_bits <= 16, f"id_bits must be at most 16, not {self.id_bits}")
        _power_of_two(self, "max_burst")
        limit = min(MAX_BURST, PAGE_BYTES // self.beat_bytes)
        _require(self.max_burst <= limit,
                 f"max_burst must be at most {limit} at {self.data_bits} bits, not "
                 f"{self.max_burst}")
        _require(self.buffer_beats >= self.max_burst,
                 f"buffer_beats must be at least max_burst ({self.max_burst}), not "
                 f"{self.buffer_beats}")
        _require(self.max_beats <= 1 << 28,
                 f"max_beats must be at most {1 << 28}, not {self.max_beats}")

    @property
    def beat_bytes(self) -> int:
        """Bytes of a beat."""
        return self.data_bits // 8

    @property
    def beat_shift(self) -> int:
        """Zero bits at the end of a beat's address, and AxSIZE."""
        return self.beat_bytes.bit_length() - 1

    @property
    def beats_in_flight(self) -> int:
        """Beats that may be under way: a memory that answers within as many cycles is kept busy."""
        return min(self.outstanding * self.max_burst, self.buffer_beats)

    @property
    def request_latency(self) -> int:
        """Cycles from a command to its first burst's ARVALID: split, space, register."""
        return 3

    @property
    def data_latency(self) -> int:
        """Cycles from a beat on R to ``o.valid`` if the buffer is empty."""
        return 2


@dataclass(frozen=True, kw_only=True)
class WatchdogConfig:
    """The watchdog; its limit is a register."""

    limit_bits: int = 32

    def __post_init__(self) -> None:
        _require(1 <= self.limit_bits <= 32,
                 f"limit_bits must lie in 1..32, not {self.limit_bits}")


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """A control port: one slave, the register file, the token queues, the watchdog."""

    bus: str = "axi_lite"
    registers: RegisterFileConfig = field(default_factory=RegisterFileConfig)

    def __post_init__(self) -> None:
        _one_of(self, bus=("axi_lite", "wishbone", "wishbone_pipelined"))
        for name in ("prompt_depth", "generated_depth"):
            _require(getattr(self.registers, name) >= 2,
                     f"registers.{name} must be at least 2, not {getattr(self.registers, name)}")

    @property
    def slave(self) -> ControlSlaveConfig:
        """Configuration of the bus's slave."""
        if self.bus == "axi_lite":
            return ControlSlaveConfig()
        return WishboneConfig(pipelined=self.bus == "wishbone_pipelined")

    @property
    def watchdog(self) -> WatchdogConfig:
        """Configuration of the watchdog."""
        return WatchdogConfig()
