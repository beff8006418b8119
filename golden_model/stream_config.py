# SPDX-License-Identifier: Apache-2.0
"""Parameters of what moves vectors between units (standard library only)."""

from dataclasses import dataclass

from golden_model.config import WORD_BITS, _at_least, _ceil_div, _require
from golden_model.vector_config import ResidualAddConfig, RopeConfig

__all__ = ["NarrowerConfig", "ResidualStreamConfig", "RotationConfig"]


@dataclass(frozen=True, kw_only=True)
class NarrowerConfig:
    """Geometry of what passes a wide beat on in narrow ones."""

    width: int
    """Values of a wide beat."""
    lanes: int
    """Values of a narrow one."""
    bits: int
    max_n: int

    def __post_init__(self) -> None:
        _at_least(self, width=1, lanes=1, bits=1, max_n=1)
        _require(self.width % self.lanes == 0,
                 f"width must be a multiple of lanes ({self.lanes}), not {self.width}")

    @property
    def parts(self) -> int:
        """Narrow beats of a wide one."""
        return self.width // self.lanes

    @property
    def max_beats(self) -> int:
        """Narrow beats of the longest vector."""
        return _ceil_div(self.max_n, self.lanes)


@dataclass(frozen=True, kw_only=True)
class ResidualStreamConfig:
    """Geometry of the residual stream: its memory, and what is added to it."""

    lanes: int = 4
    """Words a beat."""
    max_n: int = 1024
    """Longest vector."""
    width: int = 128
    """Sums in a beat of what is added."""
    sum_bits: int = 24
    code_bits: int = 5
    """Bits of a code of the embedding."""
    rows_per_stage: int = 3
    form: str = "booth"
    batch: int = 1
    """Tokens whose vectors are kept."""

    def __post_init__(self) -> None:
        _at_least(self, code_bits=2, batch=1)
        _require(self.code_bits <= self.sum_bits,
                 f"code_bits must be at most sum_bits ({self.sum_bits}), not {self.code_bits}")
        _ = self.narrower, self.add

    @property
    def narrower(self) -> NarrowerConfig:
        """Configuration of what brings the sums to beats of the words."""
        return NarrowerConfig(width=self.width, lanes=self.lanes, bits=self.sum_bits,
                              max_n=self.max_n)

    @property
    def add(self) -> ResidualAddConfig:
        """Configuration of the addition."""
        return ResidualAddConfig(lanes=self.lanes, in_bits=self.sum_bits,
                                 rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def max_beats(self) -> int:
        """Beats of the longest vector."""
        return self.narrower.max_beats

    @property
    def memory_bits(self) -> int:
        """Bits of the words."""
        return self.depth * self.lanes * WORD_BITS

    @property
    def depth(self) -> int:
        """Beats of the memory: of several tokens each has whole bits of an address."""
        if self.batch == 1:
            return self.max_beats
        return self.batch << max(1, (self.max_beats - 1).bit_length())

    @property
    def read_latency(self) -> int:
        """Cycles from a command to its first words."""
        return 1


@dataclass(frozen=True, kw_only=True)
class RotationConfig:
    """Geometry of what makes words of keys, values and queries of the array's sums."""

    rows: int = 2
    """Sums in one beat of the array: pairs that turn together."""
    lanes: int = 4
    """Words given a cycle."""
    max_n: int = 128
    """Longest head."""
    max_heads: int = 32
    ahead: int = 0
    """Order of the heads: keys, values, queries; or, if not 0, of each KV head so many queries, its
    key, its value and its other queries."""
    sum_bits: int = 18
    extra_bits: int = 6
    """Fraction bits that keys and queries gain."""
    rows_per_stage: int = 3
    form: str = "booth"

    def __post_init__(self) -> None:
        _at_least(self, rows=2, lanes=2, max_n=2, max_heads=1)
        _require(self.rows % 2 == 0, f"rows must be even, not {self.rows}")
        _require(self.lanes % self.rows == 0,
                 f"lanes must be a multiple of rows ({self.rows}), not {self.lanes}")
        _ = self.rope

    @property
    def rope(self) -> RopeConfig:
        """Configuration of the rotation."""
        return RopeConfig(pairs=self.rows // 2, in_bits=self.sum_bits, extra_bits=self.extra_bits,
                          rows_per_stage=self.rows_per_stage, form=self.form)

    @property
    def table_bits(self) -> int:
        """Bits of the cosines and sines of one beat."""
        return self.rows * self.rope.table_bits

    @property
    def parts(self) -> int:
        """Beats of the array in one of words."""
        return self.lanes // self.rows

    @property
    def max_blocks(self) -> int:
        """Beats of the array in the longest head."""
        return _ceil_div(self.max_n, self.rows)

    @property
    def latency(self) -> int:
        """Cycles from a beat's last sums to its words."""
        return self.rope.latency + 1
