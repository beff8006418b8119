# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.loader`: which beats a sequence of writes makes."""

from collections.abc import Sequence

from golden_model.system_config import ImageLoaderConfig

__all__ = ["load"]


def load(config: ImageLoaderConfig, writes: Sequence[tuple[bool, int]]) -> list[tuple[int, int]]:
    """Address and value of each beat that is written.

    Parameters
    ----------
    writes
        Whether each is an address, and its word.
    """
    done: list[tuple[int, int]] = []
    address, words = 0, list[int]()
    for is_address, word in writes:
        if is_address:
            address, words = word, []
            continue
        words.append(word)
        if len(words) == config.words:
            beat = sum(each << 32 * n for n, each in enumerate(words))
            if address < config.memory.depth:
                done.append((address, beat % (1 << config.memory.port.beat_bits)))
            address, words = (address + 1) % (1 << 32), []
    return done
