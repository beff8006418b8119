# SPDX-License-Identifier: Apache-2.0
"""Driver of an accelerator: image in, prompt in, tokens out, through its registers only.

Whatever carries the accesses, a simulation, a memory map or a serial line, is a `Bus`.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.image.axi_port import memory_content
from golden_model.registers import ERRORS, register
from host.backends.sampling import GREEDY, Sampling
from host.compile.image import Image, parse_image
from host.registers import DeviceError, Registers

__all__ = ["Bus", "Driver"]

IMAGE_BASE = 0x1_0000
"""Where an image goes in memory behind AXI4, unless the bus says otherwise."""
ATTEMPTS = 100_000
"""Accesses after which a device that takes nothing counts as hung."""
IRQS = {"done": 1, "error": 1, "token": 1, "kv": 1}


class Bus(Protocol):
    """What carries accesses; addresses and words are a register's."""

    def read32(self, offset: int) -> int:
        """Read a word."""

    def write32(self, offset: int, word: int) -> None:
        """Write a word."""

    def write_words(self, offset: int, words: Sequence[int]) -> None:
        """Write many words to one register."""

    def load_memory(self, address: int, content: bytes) -> None:
        """Put bytes into the memory that the device reads over AXI4, if it has one."""

    def wait(self) -> None:
        """Let the device work: until it interrupts, or for a while.

        Raises
        ------
        DeviceError
            It has worked for longer than anything may take.
        """


class _Words:
    """The bus as :class:`host.registers.Registers` wants it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def read(self, offset: int) -> int:
        return self._bus.read32(offset)

    def write(self, offset: int, word: int) -> None:
        self._bus.write32(offset, word)


class Driver:
    """One accelerator.

    Parameters
    ----------
    bus
        What it is reached by.
    config
        Configuration that it was built from; a device of another one is refused.
    """

    def __init__(self, bus: Bus, config: AcceleratorConfig) -> None:
        self.bus = bus
        self.config = config
        self.registers = Registers(_Words(bus))
        self.vocab = 0

    def identify(self) -> None:
        """Raise `DeviceError` unless what answers is the accelerator of that configuration."""
        self.registers.check_identity(config_hash(self.config))

    def check(self) -> None:
        """Raise `DeviceError`, a sentence for each error that the device reports."""
        set_bits = self.registers.read("errors")
        found = [f"{name}: {text}" for name, text in ERRORS if set_bits[name]]
        if found:
            raise DeviceError("the accelerator reports " + "; ".join(found))

    def reset(self) -> None:
        """Drop what is in work, every sequence and every error."""
        self.registers.write("control", soft_reset=1)
        self._until_idle()
        self.registers.clear_errors()
        self.registers.write("irq_status", **{field.name: 1
                                              for field in register("irq_status").fields})
        self.registers.write("irq_enable", **IRQS)

    def load(self, image: Image) -> None:
        """Check an image, write it, and have the device check it.

        Raises
        ------
        UserError
            It is damaged, or for another configuration.
        DeviceError
            The device refuses it.
        """
        parse_image(image.content, image.beats.shape[1], config_hash(self.config))
        self.put(image)

    def put(self, image: Image) -> None:
        """Write an image as it is, and have the device check it.

        Raises
        ------
        DeviceError
            The device refuses it.
        """
        system = self.config.system
        if system is None:
            raise DeviceError(f"{self.config.name} is no whole accelerator")
        self.identify()
        self.reset()
        if len(image.beats) > system.depth:
            raise DeviceError(f"the image has {len(image.beats)} beats, the memory {system.depth} "
                              "(system.depth)")
        if system.memory == "axi":
            self.bus.load_memory(IMAGE_BASE, memory_content(self.config.axi_port, image.content))
            self.registers.write64("image_base_low", "image_base_high", IMAGE_BASE)
        else:
            self._write_image(image)
        self.registers.write("control", check=1)
        self._until_idle()
        self.check()
        if not self.registers.read("status")["image_valid"]:
            raise DeviceError("the accelerator does not take the image")
        self.vocab = image.header["vocab"]

    def _write_image(self, image: Image) -> None:
        """Each beat in whole words."""
        beats = image.beats
        padded = np.pad(beats, ((0, 0), (0, -beats.shape[1] % 4)))
        words = padded.reshape(-1).view("<u4").astype(np.int64)
        self.registers.write("image_address", beat=0)
        self.bus.write_words(register("image_data").offset, words.tolist())

    def _until_idle(self) -> None:
        while not self.registers.read("status")["idle"]:
            self._acknowledge()
            self.bus.wait()

    def _acknowledge(self) -> int:
        """Clear the interrupts that were seen; returns their word."""
        word = self.registers.word("irq_status")
        self.bus.write32(register("irq_status").offset, word)
        return word

    def stream(self, prompt: Sequence[int], count: int, sampling: Sampling = GREEDY, *,
               stop: int | None = None, slot: int = 0) -> Iterator[int]:
        """Read a prompt into a slot, and yield up to `count` tokens as they come.

        Raises
        ------
        DeviceError
            The device reports an error; the tokens before it are sound unless it says otherwise.
        """
        registers = self.registers
        enable, mantissa, exponent, seed = sampling.registers
        registers.write("kv_slot", slot=slot)
        registers.write("prompt_count", value=len(prompt))
        registers.write("generate_count", value=count)
        registers.write("stop_token", token=stop or 0, enable=stop is not None)
        registers.write("sampling", mantissa=mantissa, exponent=exponent, enable=enable)
        registers.write("seed", value=seed)
        self._acknowledge()
        registers.write("control", start=1)
        rest = list(prompt)
        while True:
            levels = registers.read("levels")
            if rest and levels["prompt_space"]:
                now, rest = rest[:levels["prompt_space"]], rest[levels["prompt_space"]:]
                self.bus.write_words(register("prompt_token").offset, now)
            for _ in range(levels["generated"]):
                token = registers.read("generated_token")
                yield token["token"]
                if token["last"]:
                    self._until_idle()
                    self.check()
                    return
            if levels["generated"]:
                continue
            seen = self._acknowledge()
            self.check()
            if seen or rest:
                if registers.read("status")["idle"] and not registers.read("levels")["generated"]:
                    return
                if rest and not seen:
                    self.bus.wait()
                continue
            self.bus.wait()

    def abort(self) -> None:
        """End after the token in work."""
        self.registers.write("control", abort=1)
        self._until_idle()

    def position(self, slot: int = 0) -> int:
        """Tokens of a sequence."""
        self.registers.write("kv_slot", slot=slot)
        return self.registers.read("position")["value"]

    def clear(self, slot: int = 0) -> None:
        """Forget a sequence."""
        self.registers.write("kv_slot", slot=slot)
        self.registers.write("kv_control", clear=1)
        self._until_idle()
        self.check()

    def save(self, slot: int = 0) -> list[int]:
        """Words of a sequence, from which `restore` goes on."""
        self.registers.write("kv_slot", slot=slot)
        self.registers.write("kv_control", save=1)
        words: list[int] = []
        left = self.registers.read("kv_words")["value"]
        while left:
            word = self.registers.word("kv_save_data")
            now = self.registers.read("kv_words")["value"]
            if now < left:
                words.append(word)
            else:   # the cache is slower than this bus: the word was not there yet
                self.registers.write("errors", save_underflow=1)
            left = now
        self._until_idle()
        self.check()
        return words

    def restore(self, words: Sequence[int], slot: int = 0) -> None:
        """Put a saved sequence into a slot."""
        self.registers.write("kv_slot", slot=slot)
        self.registers.write("kv_control", restore=1)
        for word in words:
            if not self._restored(word):
                break
        self._until_idle()
        self.check()

    def _restored(self, word: int) -> bool:
        """Write a word until the cache takes it; false if nobody waits for one."""
        for _ in range(ATTEMPTS):
            self.bus.write32(register("kv_restore_data").offset, word)
            if not self.registers.read("errors")["restore_overflow"]:
                return True
            self.registers.write("errors", restore_overflow=1)   # it is slower than this bus
            if self.registers.read("status")["idle"]:
                return False
        raise DeviceError("the accelerator takes no more words of a sequence")

    def counters(self) -> dict[str, int]:
        """Every counter."""
        return self.registers.counters()
