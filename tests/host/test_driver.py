# SPDX-License-Identifier: Apache-2.0
"""The driver over a bus that is faster than the device behind it; whole devices are elsewhere."""

from collections.abc import Sequence

import numpy as np
import pytest

from golden_model.config import config_hash
from golden_model.presets import preset
from golden_model.program import Instruction
from golden_model.registers import register
from host.compile.image import Image, make_image
from host.driver import Driver
from host.errors import UserError
from host.registers import DeviceError

CONFIG = preset("tiny")


class Slow:
    """A device at rest whose saved words come one in `pace` accesses."""

    def __init__(self, words: Sequence[int], pace: int) -> None:
        self.words, self.pace, self.age, self.errors = list(words), pace, 0, 0
        self.busy, self.taken = False, list[int]()

    def read32(self, offset: int) -> int:
        """Read a word."""
        self.age += 1
        if offset == register("kv_words").offset:
            return len(self.words)
        if offset == register("status").offset:
            idle = next(field.mask for field in register("status").fields if field.name == "idle")
            return 0 if self.busy and len(self.taken) < len(self.words) else idle
        if offset == register("errors").offset:
            return self.errors
        if offset != register("kv_save_data").offset:
            return 0
        if self.age < self.pace:
            self.errors |= self._mask("save_underflow")
            return 0
        self.age = 0
        return self.words.pop(0)

    def write32(self, offset: int, word: int) -> None:
        """Write a word."""
        self.age += 1
        if offset == register("kv_restore_data").offset:
            if self.age < self.pace:
                self.errors |= self._mask("restore_overflow")
            else:
                self.age = 0
                self.taken.append(word)
        if offset == register("errors").offset:
            self.errors &= ~word

    def write_words(self, offset: int, words: Sequence[int]) -> None:
        """Write nothing."""

    def load_memory(self, address: int, content: bytes) -> None:
        """Load nothing."""

    def wait(self) -> None:
        """Wait for nothing."""

    @staticmethod
    def _mask(name: str) -> int:
        return next(field.mask for field in register("errors").fields if field.name == name)


@pytest.mark.parametrize("pace", [1, 2, 9, 40])
def test_words_that_a_slow_cache_saves_are_waited_for(pace: int) -> None:
    words = [28, 5, *range(100, 106)]
    assert Driver(Slow(words, pace), CONFIG).save() == words


@pytest.mark.parametrize("pace", [1, 2, 9, 40])
def test_a_slow_cache_takes_every_word_of_a_restore(pace: int) -> None:
    words = [28, 5, *range(100, 106)]
    device = Slow(words, pace)
    device.busy = True
    Driver(device, CONFIG).restore(words)
    assert (device.taken, device.errors) == (words, 0)


def test_a_device_at_rest_ends_a_restore() -> None:
    device = Slow([], 40)
    Driver(device, CONFIG).restore([4, 5])
    assert device.taken == []


def test_an_error_of_the_save_is_told() -> None:
    device = Slow([8, 1, 7], 9)
    device.errors = Slow._mask("ecc_double")
    with pytest.raises(DeviceError, match="ecc_double"):
        Driver(device, CONFIG).save()


def test_images_are_checked_ahead_of_the_device() -> None:
    size = CONFIG.decoder.port.beat_bits // 8
    image = make_image(size, config_hash(CONFIG), "f" * 16, [Instruction("end")],
                       np.zeros((3, size), np.uint8))
    beats = image.beats.copy()
    beats[-1, 0] ^= 1
    spoilt = Image(beats, image.config_hash, image.model_hash, image.program, image.header)
    driver = Driver(Slow([], 1), CONFIG)
    with pytest.raises(UserError, match="the image is damaged"):
        driver.load(spoilt)
    foreign = make_image(size, "1" * 16, "f" * 16, [Instruction("end")],
                         np.zeros((3, size), np.uint8))
    with pytest.raises(UserError, match="for configuration 1111111111111111"):
        driver.load(foreign)
    with pytest.raises(DeviceError, match="no accelerator answers"):
        driver.load(image)
