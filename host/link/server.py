# SPDX-License-Identifier: Apache-2.0
"""A device without a wire: any accelerator's registers behind a pseudo-terminal."""

import os
import pty
import threading
import tty
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.registers import register
from golden_model.weights import DecoderWeights
from host.backends.base import Backend
from host.compile.compiler import model_hash
from host.link.content import IMAGE_BASE, beat_words
from host.link.device import Bus, BusError, LinkDevice, serve
from host.link.image import WORD_BYTES
from host.link.model import Geometry, RegisterModel
from host.link.model_image import ModelImage
from host.link.port import TerminalPort
from host.registers import DeviceError

__all__ = ["DriverBus", "Server", "Words", "modelled"]

_JOIN_SECONDS = 10
_STATUS = register("status").offset
_SAVED = register("kv_save_data").offset
_PAUSE = 32
"""Accesses ahead of each word of a saved sequence: no register says whether it is there yet."""
_ADDRESS, _DATA = register("image_address").offset, register("image_data").offset
_END = 1 << 12


class Words(Protocol):
    """Accesses as :class:`host.driver.Bus` has them; whatever carries them."""

    def read32(self, offset: int) -> int:
        """Read a word."""

    def write32(self, offset: int, word: int) -> None:
        """Write a word."""

    def write_words(self, offset: int, words: Sequence[int]) -> None:
        """Write many words to one register."""

    def load_memory(self, address: int, content: bytes) -> None:
        """Put bytes into the memory that the device reads over AXI4, if it has one."""


class DriverBus:
    """The device end's bus in front of a driver's: a simulated accelerator, or one in memory.

    Parameters
    ----------
    work
        Lets the device work for a moment; 0 or False if it cannot.
    """

    def __init__(self, words: Words, config: AcceleratorConfig, work: Callable[[], int]) -> None:
        self._words, self._work = words, work
        self._behind_axi = config.system is not None and config.system.memory == "axi"
        self.beat_words = beat_words(config)
        self._memory, self._new = bytearray(), False

    @staticmethod
    def _checked(address: int) -> int:
        if address % WORD_BYTES or not 0 <= address < _END:
            raise BusError(f"{address:#x}")
        return address

    def read(self, address: int) -> int:
        """Word at `address`; one of a sequence that is saved is given time to be there."""
        try:
            if address == _SAVED:
                for _ in range(_PAUSE):
                    self._words.read32(_STATUS)
            return self._words.read32(self._checked(address))
        except DeviceError as error:
            raise BusError(str(error)) from error

    def write(self, address: int, word: int) -> None:
        """Write one word."""
        try:
            if self._new:
                self._words.load_memory(IMAGE_BASE, bytes(self._memory))
                self._new = False
            self._words.write32(self._checked(address), word)
        except DeviceError as error:
            raise BusError(str(error)) from error

    def write_image(self, beat: int, words: Sequence[int]) -> None:
        """Write whole beats, on the chip or into the memory behind AXI4.

        What goes into that memory is there ahead of the next write to a register.
        """
        if self._behind_axi:
            place = beat * self.beat_words * WORD_BYTES
            data = b"".join(word.to_bytes(WORD_BYTES, "little") for word in words)
            self._memory[place:place + len(data)] = data
            self._new = True
            return
        try:
            self._words.write32(_ADDRESS, beat)
            self._words.write_words(_DATA, words)
        except DeviceError as error:
            raise BusError(str(error)) from error

    def tick(self) -> bool:
        """Let the device work, unless nothing is in work; whether it did."""
        try:
            return not self._words.read32(_STATUS) & 1 and bool(self._work())
        except DeviceError:
            return False


def modelled(backend: Backend, weights: DecoderWeights, config: AcceleratorConfig,
             window: int | None = None) -> RegisterModel:
    """Put the registers of a whole accelerator in front of a backend; its image is yet to come.

    Raises
    ------
    BackendError
        The backend cannot run the model.
    """
    window = config.window if window is None else window
    backend.load(weights, window)
    system, decoder = config.system, config.decoder
    queue = 32 if system is None else min(system.prompt_depth, system.generated_depth)
    depth = 0 if system is None else system.depth
    image = ModelImage(depth, config.image_loader.words, decoder.port.beat_bits // 8,
                       config_hash(config), model_hash(weights))
    return RegisterModel(backend, Geometry(
        config_hash=int(config_hash(config), 16), window=window, vocab=weights.shape.vocab,
        context=weights.shape.context, rows=config.array.rows, lanes=config.array.lanes,
        queue=queue), image)


class Server:
    """A pseudo-terminal, and a thread that answers on it as long as the block lasts."""

    def __init__(self, bus: Bus) -> None:
        master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = Path(os.ttyname(self._slave))
        self.device = LinkDevice(bus)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=serve, args=(self.device, TerminalPort(master, "device"), self._stop),
            daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()
        os.close(self._slave)

    def wait(self, seconds: float) -> bool:
        """Wait so long; whether it still answers."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def unplug(self) -> None:
        """Take the device's end of the terminal away.

        Raises
        ------
        RuntimeError
            The device does not come to rest.
        """
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError("the device does not come to rest")
