# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.vector_reader`."""

from golden_model.image.splitter import split
from golden_model.image_config import VectorReaderConfig

__all__ = ["given", "schedule"]


def given(config: VectorReaderConfig, beats: list[int], words: int, passes: int) -> list[int]:
    """Words as they leave: the vector, `passes` times."""
    return split(config.splitter, beats, words) * passes


def schedule(config: VectorReaderConfig, words: int, passes: int, first: int) -> list[int]:
    """Cycles of the words if beats come as they are taken, the first in cycle `first`.

    A word a cycle: the memory is filled as fast as it is read.
    """
    start = first + config.latency
    return list(range(start, start + words * passes))
