# SPDX-License-Identifier: Apache-2.0
"""Parameters of the memory component and of its error-correcting code."""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from golden_model.config import _at_least, _ceil_div, _one_of, _require

__all__ = ["SPRAM_DEPTH", "SPRAM_WIDTH", "SecdedConfig", "SramConfig"]

SPRAM_DEPTH, SPRAM_WIDTH = 16_384, 16
"""Geometry of one single-port memory of an iCE40 UP5K."""

MAX_DEPTH = 1 << 24
MAX_WIDTH = 8192


@dataclass(frozen=True, kw_only=True)
class SramConfig:
    """Geometry of one memory of `depth` words."""

    depth: int
    width: int
    ports: str = "1r1w"
    """``1r1w``: one read and one write port; ``1rw``: one port for either."""
    cells: str = "inferred"
    """``inferred``: what synthesis maps to block RAM; ``spram``: an iCE40 UP5K's single-port
    memories; ``macro``: a black box, for an ASIC."""

    def __post_init__(self) -> None:
        _at_least(self, depth=1, width=1)
        _require(self.depth <= MAX_DEPTH, f"depth must be at most {MAX_DEPTH}, not {self.depth}")
        _require(self.width <= MAX_WIDTH, f"width must be at most {MAX_WIDTH}, not {self.width}")
        _one_of(self, ports=("1r1w", "1rw"), cells=("inferred", "spram", "macro"))
        if self.cells == "spram":
            _require(self.ports == "1rw", f"ports must be 1rw with spram, not {self.ports}")
            _require(self.depth <= SPRAM_DEPTH,
                     f"depth must be at most {SPRAM_DEPTH} with spram, not {self.depth}")

    @property
    def bits(self) -> int:
        """Bits that it stores."""
        return self.depth * self.width

    @property
    def macro(self) -> str:
        """Name of the black box."""
        return f"sram_{self.ports}_{self.depth}x{self.width}"


@dataclass(frozen=True, kw_only=True)
class SecdedConfig:
    """A code that corrects one flipped bit and detects two (Hsiao, IBM J. R&D 14, 1970).

    Every column of the parity check matrix has odd weight, so that two flips, whose syndrome is
    even, are never taken for one.
    """

    data_bits: int

    def __post_init__(self) -> None:
        _at_least(self, data_bits=1)
        _require(self.data_bits <= 120, f"data_bits must be at most 120, not {self.data_bits}")

    @property
    def check_bits(self) -> int:
        """Fewest bits whose odd columns suffice."""
        bits = 2
        while (1 << bits - 1) < self.data_bits + bits:
            bits += 1
        return bits

    @property
    def word_bits(self) -> int:
        """Data bits, then check bits."""
        return self.data_bits + self.check_bits

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """Column of each data bit: the lightest ones, chosen so that rows weigh much the same."""
        bits = self.check_bits
        loads = [0] * bits
        chosen: list[int] = []
        for weight in range(3, bits + 1, 2):
            free = list(combinations(range(bits), weight))
            while free and len(chosen) < self.data_bits:
                best = min(free, key=lambda rows: (sorted((loads[row] for row in rows),
                                                          reverse=True), rows))
                free.remove(best)
                chosen.append(sum(1 << row for row in best))
                for row in best:
                    loads[row] += 1
        return tuple(chosen)

    @classmethod
    def parts(cls, width: int, most: int = 64) -> tuple["SecdedConfig", ...]:
        """Codes of a word of `width` bits that is cut into pieces of at most `most`."""
        count = _ceil_div(width, most)
        return tuple(cls(data_bits=(width + part) // count) for part in range(count))
