# SPDX-License-Identifier: Apache-2.0
"""A compiled image as words for a device's memory, and back."""

import numpy as np

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.image.axi_port import memory_content
from host.compile.image import Image
from host.link.image import WORD_BYTES, Content

__all__ = ["IMAGE_BASE", "beat_words", "content_of", "packed"]

IMAGE_BASE = 0x1_0000
"""Where an image goes in memory behind AXI4."""


def beat_words(config: AcceleratorConfig) -> int:
    """Words of 32 bits in which a device of that configuration takes a beat."""
    if config.system is not None and config.system.memory == "axi":
        return config.system.axi.data_bits // (8 * WORD_BYTES)
    return config.image_loader.words


def content_of(image: Image, config: AcceleratorConfig) -> Content:
    """Return an image as the memory of that accelerator holds it, on the chip or behind AXI4."""
    words = beat_words(config)
    if config.system is not None and config.system.memory == "axi":
        data = memory_content(config.axi_port, image.content)
        return Content(data + bytes(-len(data) % (WORD_BYTES * words)), words, IMAGE_BASE)
    beats = image.beats
    padding = words * WORD_BYTES - beats.shape[1]
    return Content(np.pad(beats, ((0, 0), (0, padding))).tobytes(), words)


def packed(data: bytes, words: int, size: int) -> bytes:
    """Undo what is filled up for a memory on the chip: beats of `size` bytes."""
    beats = np.frombuffer(data, np.uint8).reshape(-1, words * WORD_BYTES)
    return beats[:, :size].tobytes()
