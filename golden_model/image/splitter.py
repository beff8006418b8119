# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.splitter`."""

from collections.abc import Sequence

from golden_model.image_config import SplitterConfig

__all__ = ["join", "schedule", "split"]


def join(config: SplitterConfig, words: Sequence[int]) -> list[int]:
    """Beats that hold `words`, the last one filled up with zeros."""
    return [sum(word << (config.word_bits * n)
                for n, word in enumerate(words[first:first + config.per_beat]))
            for first in range(0, len(words), config.per_beat)]


def split(config: SplitterConfig, beats: Sequence[int], words: int) -> list[int]:
    """First `words` words of `beats`."""
    mask = (1 << config.word_bits) - 1
    return [beats[n // config.per_beat] >> (config.word_bits * (n % config.per_beat)) & mask
            for n in range(words)]


def schedule(config: SplitterConfig, words: Sequence[int]) -> tuple[list[int], list[int]]:
    """Cycles of the beats and of the words of vectors that wait, if ``o`` never stalls.

    `words` is the length of each vector.  A word a cycle, and none between beats or vectors.
    """
    beats: list[int] = []
    sent: list[int] = []
    for count in words:
        for first in range(0, count, config.per_beat):
            beats.append(sent[-1] if sent else 0)
            start = beats[-1] + config.latency
            sent += range(start, start + min(config.per_beat, count - first))
    return beats, sent
