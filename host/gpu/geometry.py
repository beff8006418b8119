# SPDX-License-Identifier: Apache-2.0
"""How a product is cut into blocks.  Any cut gives the same integers."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["TILE", "BatchCut", "ColumnCut", "RowCut", "batch_cut", "column_cut", "fused_cut",
           "listed_cut", "row_cut"]

TILE = 16
"""Rows that one tensor-core product takes."""
_MOST_BATCH = 24  # tiles times pieces of a warp's weights, in registers
_SHARED_BYTES = 48 * 1024
_MOST_THREADS = 1024


@dataclass(frozen=True)
class RowCut:
    """Cut of a matrix that is packed as rows."""

    split: int
    """Warps that share a row's columns."""
    tiles: int
    """Tiles of 16 rows that a warp holds."""
    groups: int = 1
    """Sets of rows in a block."""
    resident: int = 1
    """Blocks that must fit a multiprocessor at once: bounds the registers."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1 or self.threads > _MOST_THREADS:
            raise ValueError(f"no such cut: {self}")

    @property
    def span(self) -> int:
        """Rows of a block."""
        return TILE * self.tiles * self.groups

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * self.split * self.groups

    @property
    def defines(self) -> dict[str, int]:
        """Macros of the kernel."""
        return {"SPLIT": self.split, "TILES": self.tiles, "GROUPS": self.groups,
                "RESIDENT": self.resident}


@dataclass(frozen=True)
class BatchCut:
    """Cut of a matrix that is packed as codes."""

    split: int
    """Warps that share a row's columns."""
    tiles: int
    """Tiles of 16 rows that a block holds."""
    resident: int = 1
    """Blocks that must fit a multiprocessor at once."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1 or 32 * self.split > _MOST_THREADS:
            raise ValueError(f"no such cut: {self}")

    def fits(self, tokens: int) -> bool:
        """Whether the partial sums fit shared memory."""
        return self.split * -(-tokens // 8) * 8 * (TILE * self.tiles + 5) * 4 <= _SHARED_BYTES

    @property
    def defines(self) -> dict[str, int]:
        """Macros of the kernel."""
        return {"SPLIT": self.split, "TILES": self.tiles, "RESIDENT": self.resident}


@dataclass(frozen=True)
class ColumnCut:
    """Cut of a matrix that is packed as columns; a block takes 256 rows."""

    warps: int
    """Warps of a block."""
    shares: int
    """Blocks that share the entries out and add to the same rows."""

    def __post_init__(self) -> None:
        if not 1 <= self.warps <= 24 or self.shares < 1:
            raise ValueError(f"no such cut: {self}")

    @property
    def defines(self) -> dict[str, int]:
        """Macros of the kernel."""
        return {"WARPS": self.warps, "SHARES": self.shares}


def _even(depth: int, most: int) -> int:
    """Warps, at most so many, that share the chunks as evenly as whole chunks allow."""
    return -(-depth // -(-depth // most))


# Fastest measured with cold caches on one H100; docs/results/gpu holds the figures.
_ROW_CUTS: Mapping[tuple[int, int], tuple[int, int, int]] = MappingProxyType({
    # 2B4T
    (3840, 10): (5, 5, 1), (2560, 10): (5, 3, 1), (13824, 10): (10, 5, 1), (2560, 27): (27, 3, 1),
    (6912, 10): (4, 4, 1),
    # 700M
    (4608, 6): (3, 4, 1), (1536, 6): (3, 2, 1), (8192, 6): (3, 4, 1), (1536, 16): (8, 2, 1),
    # 1.3B
    (6144, 8): (4, 6, 1), (2048, 8): (4, 2, 1), (10920, 8): (4, 5, 2), (2048, 22): (22, 2, 1),
    # 3B
    (9600, 13): (13, 7, 1), (3200, 13): (7, 3, 1), (17280, 13): (7, 5, 2), (3200, 34): (12, 4, 1),
    # 7B
    (12288, 16): (8, 5, 2), (4096, 16): (8, 2, 2), (22016, 16): (8, 6, 2), (4096, 43): (11, 3, 1),
    (11008, 16): (8, 4, 1),
})


def row_cut(rows: int, depth: int, planes: int = 2) -> RowCut:
    """Choose a cut for a matrix of so many rows and chunks of columns."""
    if planes == 2 and (rows, depth) in _ROW_CUTS:
        return RowCut(*_ROW_CUTS[rows, depth])
    split = _even(depth, 32 if depth > 80 else 16 if planes == 2 else 10)
    held = max(1, 10 // planes // -(-depth // split))  # tiles whose weights registers hold
    return RowCut(split, max(1, min(held, rows // (TILE * 100))))


# The same for products that compute their input themselves.
_FUSED_CUTS: Mapping[tuple[int, int], tuple[int, int]] = MappingProxyType({
    (3840, 10): (10, 4), (2560, 10): (10, 4), (13824, 10): (10, 8), (2560, 27): (7, 2),
})


def fused_cut(rows: int, depth: int) -> RowCut:
    """Choose a cut where a block has one set of rows, a warp more, and a thread for each row."""
    if (rows, depth) in _FUSED_CUTS:
        return RowCut(*_FUSED_CUTS[rows, depth])
    split = _even(depth, 31)
    tiles = max(1, min(8 // -(-depth // split), rows // (TILE * 100)))
    return RowCut(split, min(tiles, 2 * (split + 1)))


def listed_cut(depth: int) -> RowCut:
    """Choose a cut for rows that are listed: many small blocks, since all must be read at once."""
    return RowCut(_even(depth, 10), 1)


def batch_cut(rows: int, depth: int, tokens: int) -> BatchCut:
    """Choose a cut for several vectors."""
    pieces, tall = 2 * depth, rows >= 8192
    if tokens > 8:
        tiles, most = 2, 7 if tall else 11
    else:
        tiles, most = (3, 5) if tall else (2, 27)
    split = _even(pieces, max(most, min(27, -(-pieces * tiles // _MOST_BATCH))))
    while not BatchCut(split, tiles).fits(tokens):
        split = _even(pieces, split - 1)
    return BatchCut(split, tiles)


def column_cut(rows: int, columns: int) -> ColumnCut:
    """Choose a cut: at most 128 blocks, which gather half of the columns in one step."""
    shares = max(1, 128 // -(-rows // 256))
    return ColumnCut(max(4, min(24, -(-columns // (64 * shares)))), shares)
