# SPDX-License-Identifier: Apache-2.0
"""A model of the accelerator's registers on top of any backend: what a host sees, not its cycles.

Provided: identity, control, status, errors, settings, token queues, one KV slot with clear, save
and restore, sampling, counters of tokens; an image that has to be written and checked, if there is
a memory for one.  Not provided: interrupts beyond their status bits, the watchdog, counters of
cycles (they read 0), soft reset of a token in work.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from golden_model.registers import ERRORS, REGISTERS, register
from host.backends.base import Backend, BackendError, SavedState
from host.backends.sampling import GREEDY, Sampling
from host.link.device import BusError
from host.link.model_image import ModelImage

__all__ = ["Geometry", "RegisterModel"]

MAX_STATE_WORDS = 1 << 24
NAMES = {one.offset: one for one in REGISTERS}
ERROR_BITS = {name: 1 << bit for bit, (name, _) in enumerate(ERRORS)}


class Geometry(NamedTuple):
    """Constants that the registers show."""

    config_hash: int
    window: int
    vocab: int
    context: int
    rows: int = 4
    lanes: int = 16
    queue: int = 32


class RegisterModel:
    """Bus of a loaded backend; each :meth:`tick` reads one token.

    Parameters
    ----------
    image
        Where the model's image has to be written; it is there already unless given.
    """

    def __init__(self, backend: Backend, geometry: Geometry,
                 image: ModelImage | None = None) -> None:
        self.backend = backend
        self.image = image
        self.beat_words = image.beat_words if image else 0
        self.geometry = geometry
        self.words = {one.offset: one.reset for one in REGISTERS if one.kind in (
            "setting", "sticky", "constant")}
        words = {"config_hash_low": geometry.config_hash & 0xFFFFFFFF,
                 "config_hash_high": geometry.config_hash >> 32,
                 "array": geometry.rows | geometry.lanes << 12 | 5 << 28,
                 "cache": geometry.window | 1 << 20,
                 "queues": geometry.queue | geometry.queue << 16}
        self.words |= {register(name).offset: word for name, word in words.items()}
        self.prompt: deque[int] = deque()
        self.generated: deque[int] = deque()
        self.saved: deque[int] = deque()
        self.restored: list[int] | None = None
        self.prompt_left = self.generate_left = 0
        self.following: int | None = None
        self.sampling = GREEDY
        self.tokens = 0
        self.backend.reset()

    def _setting(self, name: str) -> int:
        return self.words[register(name).offset]

    def _fail(self, name: str) -> None:
        self.words[register("errors").offset] |= ERROR_BITS[name]
        self.words[register("irq_status").offset] |= 2

    @property
    def _running(self) -> bool:
        return self.prompt_left > 0 or self.generate_left > 0

    # Work

    def tick(self) -> bool:
        """Read one token, if one is to be read and is there."""
        if not self._running or len(self.generated) >= self.geometry.queue:
            return False
        if self.prompt_left:
            if not self.prompt:
                return False
            token = self.prompt.popleft()
            self.prompt_left -= 1
        elif self.following is not None:
            token = self.following
        else:
            self._end()
            return False
        try:
            self._read(token)
        except BackendError:
            self._fail("watchdog")
            self._end()
        return True

    def _read(self, token: int) -> None:
        if token >= self.geometry.vocab:
            self._fail("token_range")
            self._end()
            return
        if self.backend.position >= self.geometry.context:
            self._fail("kv_capacity")
            self._end()
            return
        last = self.prompt_left == 0 and self.generate_left > 0
        self.following = self.backend.decode(token, self.sampling if last else GREEDY)
        self.tokens += 1
        if not last:
            return
        self.sampling = self.sampling.advanced
        self.generate_left -= 1
        stop = self._setting("stop_token")
        ends = self.generate_left == 0 or (stop >> 31 and self.following == stop & 0xFFFFFF)
        self.generated.append(self.following | bool(ends) << 30 | 1 << 31)
        if ends:
            self._end()

    def _end(self) -> None:
        self.prompt_left = self.generate_left = 0
        self.words[register("irq_status").offset] |= 1

    # Bus

    def read(self, address: int) -> int:
        """Word at `address`; gaps read 0."""
        if address % 4 or not 0 <= address < 1 << 12:
            raise BusError(f"{address:#x}")
        one = NAMES.get(address)
        if one is None or one.access == "wo":
            return 0
        if one.offset in self.words:
            return self.words[one.offset]
        shown = getattr(self, f"_read_{one.name}", None)
        if shown is not None:
            word: int = shown()
            return word
        if one.name == "count_tokens":
            return self.tokens & 0xFFFFFFFF
        return 0

    def write(self, address: int, word: int) -> None:
        """Write one word; what is read-only or a gap takes it without effect."""
        if address % 4 or not 0 <= address < 1 << 12:
            raise BusError(f"{address:#x}")
        one = NAMES.get(address)
        if one is None:
            return
        if one.kind == "setting":
            self.words[address] = word & one.mask
        elif one.kind == "sticky":
            self.words[address] &= ~word
        elif one.kind in ("strobe", "push"):
            getattr(self, f"_write_{one.name}")(word & one.mask)

    def _read_status(self) -> int:
        waits = self.prompt_left > 0 and not self.prompt
        full = len(self.generated) >= self.geometry.queue
        return (not self._running) | self._running << 1 | waits << 2 | full << 3 | (
            (self.image is None or self.image.valid) << 5) | bool(self.saved) << 6 | (
            self.restored is not None) << 7

    def _read_generated_token(self) -> int:
        if not self.generated:
            self._fail("generated_underflow")
            return 0
        return self.generated.popleft()

    def _read_levels(self) -> int:
        return (self.geometry.queue - len(self.prompt)) | len(self.generated) << 16

    def _read_position(self) -> int:
        return self.backend.position

    def _read_random_state(self) -> int:
        return self.sampling.state

    def _read_kv_words(self) -> int:
        if self.restored is not None:
            return 1 if not self.restored else -(-self.restored[0] // 4) + 1 - len(self.restored)
        return len(self.saved)

    def _read_kv_save_data(self) -> int:
        if not self.saved:
            self._fail("save_underflow")
            return 0
        return self.saved.popleft()

    def _write_control(self, word: int) -> None:
        if word & 8:
            self.tokens = 0
        if word & 4:
            self.prompt.clear()
            self.generated.clear()
            self.saved.clear()
            self.restored = None
            self.prompt_left = self.generate_left = 0
        if word & 2:
            self._end()
        if word & 16 and not self._running:
            self._check()
        if word & 1 and not self._running and self._check():
            enable = self._setting("sampling")
            self.sampling = Sampling.from_registers(
                bool(enable >> 31), enable & 0xFFFF, enable >> 16 & 0xFF, self._setting("seed"))
            self.prompt_left = self._setting("prompt_count")
            self.generate_left = self._setting("generate_count")

    def _write_prompt_token(self, word: int) -> None:
        if len(self.prompt) >= self.geometry.queue:
            self._fail("prompt_overflow")
        else:
            self.prompt.append(word)

    def _write_kv_control(self, word: int) -> None:
        if self._setting("kv_slot"):
            self._fail("kv_slot")
        elif word & 1:
            self.backend.reset()
            self.following = None
        elif word & 2:
            data = self.backend.save().data
            padded = data + bytes(-len(data) % 4)
            words = [int.from_bytes(padded[i:i + 4], "little") for i in range(0, len(padded), 4)]
            # Position and length, as the hardware's own form has them, come first.
            self.saved = deque([len(data) + 4, self.backend.position, *words])
        elif word & 4:
            self.restored = []

    def _check(self) -> bool:
        """Check the image unless it was; whether there is one to run."""
        if self.image is None or self.image.valid or self.image.check():
            return True
        self._fail("image_header")
        return False

    def _write_image_address(self, word: int) -> None:
        if self.image is None or self._running:
            self._fail("image_write")
        else:
            self.image.seek(word)

    def _write_image_data(self, word: int) -> None:
        if self.image is None or self._running:
            self._fail("image_write")
        else:
            self.image.push(word)

    def write_image(self, beat: int, words: Sequence[int]) -> None:
        """Write whole beats, as an upload does."""
        self._write_image_address(beat)
        for word in words:
            self._write_image_data(word)

    def _write_kv_restore_data(self, word: int) -> None:
        if self.restored is None:
            self._fail("restore_overflow")
            return
        self.restored.append(word)
        size = self.restored[0]
        if not 4 <= size <= 4 * MAX_STATE_WORDS:
            self._fail("restore_overflow")
            self.restored = None
        elif len(self.restored) == 1 + -(-size // 4):
            words, self.restored = self.restored, None
            data = b"".join(each.to_bytes(4, "little") for each in words[2:])[:size - 4]
            try:
                self.backend.restore(SavedState("exact-1", words[1], data))
            except BackendError:
                self._fail("kv_never_written")
            self.following = None
