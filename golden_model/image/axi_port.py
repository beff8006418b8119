# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.image.axi_port`: how an image lies in memory, and what is read of it."""

from collections.abc import Sequence
from typing import NamedTuple

from golden_model.system_config import AxiPortConfig

__all__ = ["Fetch", "fetches", "memory_content"]


class Fetch(NamedTuple):
    """One command for the read master."""

    address: int
    """Byte address, whose bits below a word do not matter."""
    words: int


def fetches(config: AxiPortConfig, base: int,
            bursts: Sequence[tuple[int, int]]) -> list[Fetch]:
    """Command for each burst of beats."""
    done = []
    for address, beats in bursts:
        first = base + (address << config.shift)
        bits = config.stride_bits
        lead = first * 8 % config.axi.data_bits // bits * bits if config.per_word > 1 else 0
        done.append(Fetch(first, -(-(lead + beats * bits) // config.axi.data_bits)))
    return done


def memory_content(config: AxiPortConfig, image: bytes) -> bytes:
    """Content of a memory from the image's base on: each beat filled up to its stride."""
    size, stride = config.port.beat_bits // 8, config.stride_bits // 8
    return b"".join(image[start:start + size] + bytes(stride - size)
                    for start in range(0, len(image), size))
