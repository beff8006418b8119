# SPDX-License-Identifier: Apache-2.0
"""Exact products of packed matrices on the GPU; ``docs/gpu.md`` says how they work.

Every launch is dependent on the one ahead (programmatic dependent launch): it reads its weights
while that still runs, where it can, and everything else once that has ended.
"""

from host.gpu.geometry import (
    TILE,
    BatchCut,
    ColumnCut,
    RowCut,
    batch_cut,
    column_cut,
    listed_cut,
    row_cut,
)
from host.gpu.packing import CHUNK, LEVEL_PLANES, depth_of, pitch_of
from host.gpu.runtime import KERNELS, Array, Device, Offset

__all__ = ["MOST_TOKENS", "BatchProduct", "ColumnProduct", "ListedProduct", "RowProduct"]

MOST_TOKENS = 16


def _check_tokens(tokens: int) -> None:
    if not 1 <= tokens <= MOST_TOKENS:
        raise ValueError(f"tokens must lie in 1..{MOST_TOKENS}, not {tokens}")


class RowProduct:
    """``y = W x`` for matrices of one shape, packed as rows, and one to sixteen vectors.

    Parameters
    ----------
    rows, columns
        Shape of the matrices.
    tokens
        Vectors multiplied at once.
    levels
        The LM head's packing, `packing.pack_levels`, instead of trits, `packing.pack_rows`.
    cut
        Geometry; chosen by shape unless given.

    Attributes
    ----------
    x_shape
        Codes [tokens, depth * 256], int8; what lies behind the columns is not used.
    y_shape
        Sums [tokens, rows], int32.
    """

    listed = False

    def __init__(self, device: Device, rows: int, columns: int, tokens: int = 1, *,
                 levels: bool = False, cut: RowCut | None = None) -> None:
        _check_tokens(tokens)
        self.rows, self.depth, self.tokens = rows, depth_of(columns), tokens
        planes = LEVEL_PLANES if levels else 2
        self.cut = cut or row_cut(rows, self.depth, planes)
        self.x_shape, self.y_shape = (tokens, self.depth * CHUNK), (tokens, rows)
        self.bytes = rows * self.depth * planes * CHUNK // 8
        self.kernel = device.kernel(
            KERNELS / "row_product.cu", "row_product",
            {"ROWS": rows, "DEPTH": self.depth, "TOKENS": tokens, "PLANES": planes,
             **self.cut.defines, **({"LISTED": 1} if self.listed else {})})
        self._grid = -(-rows // self.cut.span), self.cut.threads

    def __call__(self, words: Array | Offset, x: Array, y: Array) -> None:
        """Launch."""
        self.kernel(*self._grid, words, x, y, dependent=True)


class ListedProduct(RowProduct):
    """The same for the rows that a list names, which an earlier launch may have written.

    Only these rows of y are written.  One vector; no weight is read ahead.
    """

    listed = True

    def __init__(self, device: Device, rows: int, columns: int,
                 cut: RowCut | None = None) -> None:
        super().__init__(device, rows, columns, cut=cut or listed_cut(depth_of(columns)))

    def __call__(self, words: Array | Offset, x: Array, y: Array, listed: Array | None = None,
                 count: Array | None = None) -> None:
        """Launch; `listed` has room for every row's number, int32, `count` says how many hold."""
        if listed is None or count is None:
            raise TypeError("a list of rows and its length are wanted")
        self.kernel(*self._grid, words, x, y, listed, count, dependent=True)


class BatchProduct:
    """``Y = X W'`` for matrices of one shape, packed as codes, and one to sixteen vectors.

    Attributes
    ----------
    x_shape, y_shape
        As a `RowProduct`'s.
    """

    def __init__(self, device: Device, rows: int, columns: int, tokens: int,
                 cut: BatchCut | None = None) -> None:
        _check_tokens(tokens)
        self.rows, self.depth, self.tokens = rows, depth_of(columns), tokens
        self.cut = cut or batch_cut(rows, self.depth, tokens)
        self.x_shape, self.y_shape = (tokens, self.depth * CHUNK), (tokens, rows)
        self.bytes = -(-rows // TILE) * TILE * self.depth * CHUNK // 4
        self.kernel = device.kernel(
            KERNELS / "batch_product.cu", "batch_product",
            {"ROWS": rows, "DEPTH": self.depth, "TOKENS": tokens, **self.cut.defines})
        self._blocks = -(-rows // (TILE * self.cut.tiles))

    def __call__(self, words: Array | Offset, x: Array, y: Array) -> None:
        """Launch."""
        self.kernel(self._blocks, 32 * self.cut.split, words, x, y, dependent=True)


class ColumnProduct:
    """``y = W x`` for matrices packed as columns and the elements of x that are not zero.

    Parameters
    ----------
    rows, columns
        Shape of the matrices.
    cut
        Geometry; chosen by shape unless given.
    adds
        Whether it is ``y += W x``, which saves setting y to zero, an operation of its own.
    """

    def __init__(self, device: Device, rows: int, columns: int, cut: ColumnCut | None = None, *,
                 adds: bool = False) -> None:
        self.rows, self.columns, self.pitch = rows, columns, pitch_of(rows)
        self.cut, self.adds = cut or column_cut(rows, columns), adds
        self.bytes = columns * self.pitch * 4
        self.kernel = device.kernel(KERNELS / "column_product.cu", "column_product",
                                    {"ROWS": rows, "COLUMNS": columns, "PITCH": self.pitch,
                                     **self.cut.defines})
        self._blocks = self.pitch // TILE * self.cut.shares

    def __call__(self, words: Array | Offset, entries: Array, count: Array, y: Array) -> None:
        """Launch.

        Parameters
        ----------
        words
            `packing.pack_columns`.
        entries, count
            `packing.pack_entries` in an array with room for every column, rounded up to four, and
            their number, int32; both read when it runs.
        y
            Sums [rows], int32.
        """
        if not self.adds:
            y.fill(0)
        self.kernel(self._blocks, 32 * self.cut.warps, words, entries, count, y, dependent=True)
