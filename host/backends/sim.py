# SPDX-License-Identifier: Apache-2.0
"""The generated hardware itself, Verilated, behind the driver that a board has."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from golden_model import smallfloat
from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.weights import DecoderWeights
from host.backends.base import Backend, BackendError, Limits, Logits, SavedState
from host.backends.limits import limits_of
from host.backends.sampling import GREEDY, Sampling
from host.compile.compiler import compile_model
from host.driver import Driver
from host.errors import TritforgeError, UserError
from host.registers import DeviceError

__all__ = ["SimBackend", "SimBus"]

CYCLES_A_WAIT = 20_000
PATIENCE = 50_000_000
"""Cycles without an interrupt after which the simulated device counts as hung."""


class SimBus:
    """Bus of a running simulation; see :class:`host.driver.Bus`.

    Parameters
    ----------
    system
        :class:`sim.system.System`.
    """

    def __init__(self, system: Any) -> None:
        self.system = system
        self.watch: Callable[[], None] = lambda: None
        """Called after each wait."""
        self._waited = 0

    def read32(self, offset: int) -> int:
        """Read a word."""
        return int(self._checked(self.system.read, offset))

    def write32(self, offset: int, word: int) -> None:
        """Write a word."""
        self._checked(self.system.write, offset, word)

    def write_words(self, offset: int, words: Sequence[int]) -> None:
        """Write many words to one register."""
        self._checked(self.system.write_array, offset, np.asarray(words, np.int64))

    def load_memory(self, address: int, content: bytes) -> None:
        """Put bytes into the memory on the AXI4 port."""
        self.system.load_memory(address, content)

    def wait(self) -> None:
        """Run until the interrupt."""
        took = self.system.run(CYCLES_A_WAIT)
        self._waited = self._waited + took if took == CYCLES_A_WAIT else 0
        if self._waited > PATIENCE:
            raise DeviceError(f"the simulated accelerator gave no sign for {self._waited} cycles")
        self.watch()

    @staticmethod
    def _checked(access: Callable[..., Any], *arguments: Any) -> Any:
        from sim.runner import SimulationFailed
        from sim.system import BusRefused

        try:
            return access(*arguments)
        except (BusRefused, SimulationFailed) as error:
            raise DeviceError(str(error)) from error


class SimBackend(Backend):
    """See :mod:`sim.system`.

    Parameters
    ----------
    config
        Configuration of the accelerator.
    waves
        FST file to write.
    report
        Told what is under way while it is built.
    build
        Makes the component; for a part in the decoder's place.
    """

    name = "sim"

    def __init__(self, config: AcceleratorConfig, waves: Path | None = None,
                 report: Callable[[str], None] = lambda _: None,
                 build: Callable[[AcceleratorConfig], Any] | None = None) -> None:
        if not config.is_whole:
            raise UserError(f"{config.name} is no whole accelerator: it lacks units or system")
        self.config = config
        self._waves, self._report, self._build = waves, report, build
        self._driver: Driver | None = None
        self._system: Any = None
        self._bus: SimBus | None = None
        self._tokens = self._position = 0
        self._last: Logits | None = None
        self._weights: DecoderWeights | None = None

    @property
    def driver(self) -> Driver:
        """The driver of the running device."""
        if self._driver is None:
            raise BackendError("sim: no model is loaded")
        return self._driver

    @property
    def system(self) -> Any:
        """The simulation: cycles, waves, what the decoder does."""
        if self._system is None:
            raise BackendError("sim: no model is loaded")
        return self._system

    @property
    def limits(self) -> Limits:
        """What the configuration holds."""
        return limits_of(self.config)

    def _open(self) -> Driver:
        """Build the simulation, once."""
        from sim.runner import MissingTool, SimulationFailed
        from sim.system import System

        if self._driver is None:
            try:
                if self._build is None:
                    from hw.accelerator import Accelerator

                    component = Accelerator(self.config)
                else:
                    component = self._build(self.config)
                self._system = System(component, waves=self._waves, report=self._report)
            except (MissingTool, SimulationFailed) as error:
                raise BackendError(f"sim: {error}") from error
            self._bus = SimBus(self._system)
            self._driver = Driver(self._bus, self.config)
        return self._driver

    def watch(self, action: Callable[[], None]) -> None:
        """Have something called whenever the hardware was left alone for a while."""
        if self._bus is None:
            raise BackendError("sim: no model is loaded")
        self._bus.watch = action

    def load(self, weights: DecoderWeights, window: int) -> None:
        """Build the hardware if need be, compile the model, load and check its image."""
        if self._weights is weights:
            self._guarded(self.driver.reset)
            self._begin()
            return
        try:
            image, _ = compile_model(weights, self.config.decoder, config_hash(self.config))
            driver = self._open()
            self._report("loading the image")
            driver.load(image)
        except (DeviceError, UserError, ValueError) as error:
            raise BackendError(f"sim: {error}") from error
        self.system.record(logits=True)
        self._weights = weights
        self._begin()

    def _begin(self) -> None:
        """Count from here; the slot is opened now, so that no token waits for that."""
        self._tokens = 0
        self.reset()

    def reset(self) -> None:
        """Forget the sequence."""
        self._guarded(self.driver.clear)
        self._position, self._last = 0, None

    @staticmethod
    def _guarded(action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except TritforgeError as error:
            raise BackendError(f"sim: {error}") from error

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self._position

    def stream(self, prompt: Sequence[int], count: int, sampling: Sampling = GREEDY,
               stop: int | None = None) -> Iterator[int]:
        """One start: read a prompt, yield tokens as the hardware gives them."""
        try:
            for number, token in enumerate(self.driver.stream(prompt, count, sampling, stop=stop)):
                read = len(prompt) if number == 0 else 1
                self._position += read
                self._tokens += read
                yield token
        except DeviceError as error:
            raise BackendError(f"sim: {error}") from error

    def prefill(self, tokens: Sequence[int], sampling: Sampling = GREEDY) -> int:
        """Read tokens (one at least) and return the one that follows them, which is not read."""
        found = list(self.stream(tokens, 1, sampling))
        if len(found) != 1:
            raise BackendError(f"sim: {len(found)} tokens came back instead of one")
        values, scales = self.system.logits()
        if len(scales):
            vocab = self.driver.vocab
            self._last = Logits(values[-vocab:], float(smallfloat.from_bits(int(scales[-1]))))
        return found[0]

    def logits(self) -> Logits | None:
        """Logits behind the latest token, as the hardware made them."""
        return self._last

    @property
    def form(self) -> str:
        """Form of its states: that of its configuration's registers, as a board has it."""
        return f"registers-{config_hash(self.config)}"

    def save(self) -> SavedState:
        """Copy what was read so far."""
        words = self._guarded(self.driver.save)
        return SavedState(self.form, self._position, np.array(words, "<u4").tobytes())

    def restore(self, state: SavedState) -> None:
        """Go on from a state; `BackendError` if it is of another form or unsound."""
        if state.form != self.form or len(state.data) % 4:
            raise BackendError(f"sim: a state of form {state.form!r} is not {self.form!r}")
        self._guarded(self.driver.restore, np.frombuffer(state.data, "<u4").tolist())
        if self._guarded(self.driver.position) != state.position:
            raise BackendError(f"sim: the state is not at position {state.position}")
        self._position, self._last = state.position, None

    def counters(self) -> dict[str, int]:
        """Return the hardware's counters, and the cycles of the simulation."""
        return {**self._guarded(self.driver.counters), "tokens": self._tokens,
                "simulated_cycles": self.system.cycles}

    def close(self) -> None:
        """Let go of the simulation."""
        if self._driver is not None:
            self._system.close()
            self._driver = self._system = self._weights = None
