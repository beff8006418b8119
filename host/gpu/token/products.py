# SPDX-License-Identifier: Apache-2.0
"""Which matrix kernels a token uses, and how its matrices are packed for them."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes
from host.gpu.matrix import ColumnProduct, RowProduct
from host.gpu.packing import pack_columns, pack_levels, pack_rows, pad_codes
from host.gpu.runtime import Array, Device, Offset

__all__ = ["CHUNK_ROWS", "Products", "TensorProducts"]

CHUNK_ROWS = 4096
"""Rows that are packed at a time, for the memory that it takes."""


class Products(Protocol):
    """Maker of products; ``rows`` and ``levels`` give ``launch(words, x, y)``."""

    def pad(self, columns: int) -> int:
        """Bytes that a vector of so many codes takes."""

    def pack_rows(self, trits: Codes) -> NDArray[Any]:
        """Pack a ternary matrix for `rows`."""

    def pack_levels(self, levels: Codes) -> NDArray[Any]:
        """Pack the LM head's matrix for `levels`."""

    def pack_columns(self, trits: Codes) -> NDArray[Any]:
        """Pack a ternary matrix for `columns`."""

    def rows(self, rows: int, columns: int) -> Callable[[Array | Offset, Array, Array], None]:
        """Product with a whole vector."""

    def levels(self, rows: int, columns: int) -> Callable[[Array | Offset, Array, Array], None]:
        """Product of the LM head."""

    def columns(self, rows: int,
                columns: int) -> Callable[[Array | Offset, Array, Array, Array], None]:
        """Product with a list of the elements that are not zero: (words, entries, count, y)."""


class TensorProducts:
    """The kernels of :mod:`host.gpu.matrix`."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def pad(self, columns: int) -> int:
        """Bytes that a vector of so many codes takes."""
        return int(pad_codes(np.zeros(columns, np.int8)).size)

    def pack_rows(self, trits: Codes) -> NDArray[Any]:
        """Pack a ternary matrix for `rows`."""
        return _by_chunks(pack_rows, trits)

    def pack_levels(self, levels: Codes) -> NDArray[Any]:
        """Pack the LM head's matrix for `levels`."""
        return _by_chunks(pack_levels, levels)

    def pack_columns(self, trits: Codes) -> NDArray[Any]:
        """Pack a ternary matrix for `columns`."""
        return pack_columns(trits)

    def rows(self, rows: int, columns: int) -> Callable[[Array | Offset, Array, Array], None]:
        """Product with a whole vector."""
        return RowProduct(self.device, rows, columns)

    def levels(self, rows: int, columns: int) -> Callable[[Array | Offset, Array, Array], None]:
        """Product of the LM head."""
        return RowProduct(self.device, rows, columns, levels=True)

    def columns(self, rows: int,
                columns: int) -> Callable[[Array | Offset, Array, Array, Array], None]:
        """Product with a list of the elements that are not zero."""
        return ColumnProduct(self.device, rows, columns)


def _by_chunks(pack: Callable[[Codes], NDArray[Any]], matrix: Codes) -> NDArray[Any]:
    parts = [pack(matrix[first:first + CHUNK_ROWS])
             for first in range(0, matrix.shape[0], CHUNK_ROWS)]
    return np.concatenate(parts)
