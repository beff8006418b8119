# SPDX-License-Identifier: Apache-2.0
"""Where a sequence's next row goes, and how long operations on sequences take."""

from golden_model.kv.row_walk import Geometry

__all__ = ["clear_cycles", "configure_cycles", "next_row"]


def next_row(geometry: Geometry, tokens: int) -> tuple[int, int]:
    """Addresses of the codes and the scale of a token's row in the ring, less its stream's index.

    Parameters
    ----------
    tokens
        Tokens ahead of it; the first one's row is not in the ring.
    """
    row = max(tokens - 1, 0) % geometry.ring
    return row * geometry.words * geometry.stride, row * geometry.stride


def configure_cycles(geometry: Geometry) -> int:
    """Cycles after the command was accepted until the next may be, if the geometry fits."""
    return 1 + geometry.slots + geometry.words + geometry.ring


def clear_cycles(geometry: Geometry) -> int:
    """Cycles after the command was accepted until the next may be."""
    return 1 + geometry.streams
