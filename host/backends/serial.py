# SPDX-License-Identifier: Apache-2.0
"""An accelerator behind a serial port, through its registers.

The model's image is written and checked if it can be made here; else the device has to hold it
already.  What the registers show is checked at every step, so a device that restarted, or answers
for another sequence, is noticed ahead of the next token.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from golden_model.registers import ERRORS, register
from golden_model.weights import DecoderWeights
from host.backends.base import Backend, BackendError, Limits, Logits, SavedState
from host.backends.sampling import GREEDY, Sampling
from host.errors import UserError
from host.link.bus import Identity, Registers, field_of
from host.link.errors import LinkError
from host.link.image import Content, upload
from host.link.link import Link

__all__ = ["SerialBackend"]

POLL_SECONDS = (0.0005, 0.02)
"""First and longest pause between two looks at a device that is busy."""
MAX_STATE_WORDS = 1 << 24


class SerialBackend(Backend):
    """See the module.

    Parameters
    ----------
    link
        Owned from now on.
    config_hash
        Hash of the configuration that the device has to have; any, unless given.
    known
        Limits of that configuration which the registers do not show.
    stall_seconds
        Longest time without progress.
    image
        Makes a model's image; without it the device holds its image already.
    progress
        Told beats of an image that are there, and all of them.
    """

    name = "serial"

    def __init__(self, link: Link, config_hash: int | None = None,
                 stall_seconds: float = 10.0, known: Limits | None = None,
                 image: Callable[[DecoderWeights], Content] | None = None,
                 progress: Callable[[int, int], None] = lambda done, of: None) -> None:
        self.registers = Registers(link)
        self.config_hash = config_hash
        self.stall_seconds = stall_seconds
        self.known = known or Limits()
        self.uploaded = 0
        """Beats of images that were sent."""
        self._image, self._progress = image, progress
        self._identity: Identity | None = None
        self._position = self._tokens = 0
        self._vocab = 0

    @property
    def identity(self) -> Identity:
        """Who answers; asks the first time."""
        if self._identity is None:
            try:
                self.registers.link.connect()
                self._identity = self.registers.identify(self.config_hash)
            except LinkError as error:
                raise self._failed(error) from error
        return self._identity

    @property
    def limits(self) -> Limits:
        """What its registers say of it, and what is known beside them."""
        return replace(self.known, window=self.identity.window)

    def _failed(self, error: LinkError) -> BackendError:
        return BackendError(f"serial: {error}")

    def load(self, weights: DecoderWeights, window: int) -> None:
        """Begin a session, check who answers, stop whatever it does, and bring the image there."""
        self._identity = None
        self._vocab = weights.shape.vocab
        registers = self.registers
        _ = self.identity  # ahead of any write
        try:
            registers.set("control", soft_reset=1, clear_counters=1)
            registers.write("errors", (1 << len(ERRORS)) - 1)
            if self._image is not None:
                self._wait_idle()
                self._upload(self._image(weights))
        except LinkError as error:
            raise self._failed(error) from error
        except UserError as error:
            raise BackendError(f"serial: {error}") from error
        self._tokens = 0
        self.reset()

    def _upload(self, content: Content) -> None:
        """Write an image, and have the device check it."""
        registers = self.registers
        self.uploaded += upload(registers.link, content,
                                lambda: registers.identify(self.config_hash), self._progress)
        if content.base is not None:
            registers.write("image_base_low", content.base & 0xFFFF_FFFF, content.base >> 32)
        registers.set("control", check=1)
        self._wait_idle()
        words = self._state()
        if not field_of(words[register("status").offset], "status", "image_valid"):
            found = ", ".join(self._errors(words)) or "no error"
            raise BackendError(f"serial: the device does not take the image: it reports {found}")

    def reset(self) -> None:
        """Stop what is in work and forget the sequence."""
        try:
            self.registers.set("control", soft_reset=1)
            self._wait_idle()
            self.registers.set("kv_control", clear=1)
            self._position = 0
            self._look()
        except LinkError as error:
            raise self._failed(error) from error

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self._position

    def _state(self) -> dict[int, int]:
        """Read status, errors, levels and position; what lies between is a queue's end."""
        registers = self.registers
        return registers.read_range("status", "errors") | registers.read_range("levels", "position")

    @staticmethod
    def _errors(words: dict[int, int]) -> list[str]:
        """Names of the errors that are set."""
        errors = words[register("errors").offset]
        return [name for bit, (name, _) in enumerate(ERRORS) if errors >> bit & 1]

    def _look(self, position: int | None = None) -> dict[int, int]:
        """Read the state; position and errors have to be as they should."""
        words = self._state()
        if errors := words[register("errors").offset]:
            names = ", ".join(self._errors(words)) or hex(errors)
            raise BackendError(f"serial: the device reports {names}")
        found = words[register("position").offset]
        wanted = self._position if position is None else position
        if found != wanted:
            raise BackendError(f"serial: the device is at position {found}, not {wanted}")
        return words

    def _wait_idle(self) -> None:
        """Wait for the end of what is in work."""
        pause, deadline = POLL_SECONDS[0], time.monotonic() + self.stall_seconds
        while not field_of(self.registers.read("status"), "status", "idle"):
            if time.monotonic() > deadline:
                raise BackendError(f"serial: busy for {self.stall_seconds:g} s")
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS[1])

    def prefill(self, tokens: Sequence[int], sampling: Sampling = GREEDY) -> int:
        """Read tokens (one at least) and return the one that follows them, which is not read."""
        try:
            return self._prefill(tokens, sampling)
        except LinkError as error:
            raise self._failed(error) from error

    def _prefill(self, tokens: Sequence[int], sampling: Sampling) -> int:
        registers = self.registers
        words = self._look()
        if not field_of(words[register("status").offset], "status", "idle"):
            raise BackendError("serial: the device is busy with something else")
        enable, mantissa, exponent, seed = sampling.registers
        registers.write("prompt_count", len(tokens), 1, 0, 0,
                        enable << 31 | exponent << 16 | mantissa, seed)
        registers.set("control", start=1)
        end, rest = self._position + len(tokens), list(tokens)
        reached, since, pause = self._position, time.monotonic(), POLL_SECONDS[0]
        while True:
            words = self._state()
            position = words[register("position").offset]
            levels = words[register("levels").offset]
            if words[register("errors").offset] or not reached <= position <= end:
                self._look(end)
            if field_of(levels, "levels", "generated"):
                break
            space = field_of(levels, "levels", "prompt_space")
            moved = position > reached or (space and rest)
            if rest and space:
                registers.write_queue("prompt_token", rest[:space])
                rest = rest[space:]
            if moved:
                reached, since, pause = position, time.monotonic(), POLL_SECONDS[0]
                continue
            if time.monotonic() - since > self.stall_seconds:
                raise BackendError(f"serial: no progress for {self.stall_seconds:g} s at position "
                                   f"{position}")
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS[1])
        self._look(end)
        word = registers.read("generated_token")
        token = field_of(word, "generated_token", "token")
        if not field_of(word, "generated_token", "valid") or token >= self._vocab or not field_of(
                word, "generated_token", "last"):
            raise BackendError(f"serial: {word:#010x} is no generated token")
        self._position = end
        self._tokens += len(tokens)
        return token

    def logits(self) -> Logits | None:
        """Nothing: the registers show tokens only."""
        return None

    @property
    def form(self) -> str:
        """Form of its states: its own, for its configuration."""
        return f"registers-{self.identity.config_hash:016x}"

    def save(self) -> SavedState:
        """Copy what was read so far."""
        try:
            self._look()
            self.registers.set("kv_control", save=1)
            count = self.registers.read("kv_words")
            if not 0 < count <= MAX_STATE_WORDS:
                raise BackendError(f"serial: a state of {count} words is not to be had")
            words = self.registers.read_queue("kv_save_data", count)
            self._look()
        except LinkError as error:
            raise self._failed(error) from error
        data = b"".join(word.to_bytes(4, "little") for word in words)
        return SavedState(self.form, self._position, data)

    def restore(self, state: SavedState) -> None:
        """Go on from a state; `BackendError` if it is of another form or unsound."""
        if state.form != self.form or len(state.data) % 4:
            raise BackendError(f"serial: a state of form {state.form!r} is not {self.form!r}")
        words = [int.from_bytes(state.data[i:i + 4], "little")
                 for i in range(0, len(state.data), 4)]
        try:
            self.reset()  # so that a state that ends too early is seen by the position
            self.registers.set("kv_control", restore=1)
            self.registers.write_queue("kv_restore_data", words)
            self._position = state.position
            self._look()
            if left := self.registers.read("kv_words"):
                raise BackendError(f"serial: the state ends {left} words too early")
        except LinkError as error:
            raise self._failed(error) from error

    def counters(self) -> dict[str, int]:
        """Return counts of tokens, of frames sent and of commands."""
        link = self.registers.link
        return {"tokens": self._tokens, "commands": link.commands, "frames_sent": link.sent}

    def close(self) -> None:
        """Let go of the port."""
        self._identity = None
        self.registers.link.close()
