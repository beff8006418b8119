# SPDX-License-Identifier: Apache-2.0
"""Compactor and row gather, small, in one module."""

from golden_model.sparse_config import CompactorConfig, RowGatherConfig
from hw.sparse.compactor import Compactor
from hw.sparse.row_gather import RowGather
from sim.side_by_side import SideBySide

__all__ = ["COMPACTOR", "GATHER", "sparse_units"]

COMPACTOR = CompactorConfig(lanes=4, max_n=37, queue=2)
GATHER = RowGatherConfig(width=5, max_k=20, max_rows=23, in_flight=3)


def sparse_units():
    """Build both."""
    return SideBySide(compactor=Compactor(COMPACTOR), row_gather=RowGather(GATHER))
