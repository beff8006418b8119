# SPDX-License-Identifier: Apache-2.0
"""Which backends run a model, in which order, and why not the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.weights import DecoderWeights
from host.array.remote import RemoteArray
from host.array.service import ArrayError, ArrayService, Bank
from host.array.simulated import SimulatedEngine
from host.backends.array import ArrayBackend
from host.backends.base import Backend, BackendError
from host.backends.cpu import CpuBackend
from host.backends.gpu import GpuBackend
from host.backends.limits import limits_of
from host.backends.serial import SerialBackend
from host.backends.sim import SimBackend
from host.errors import UserError
from host.fit import image_for
from host.link.content import content_of
from host.link.errors import LinkError
from host.link.link import Link, Patience
from host.link.port import TerminalPort

__all__ = ["Candidate", "Choice", "Simulation", "array_candidate", "candidates", "choose",
           "with_port"]

_TAKEN = (": first choice", ": stands by")


@dataclass(frozen=True)
class Candidate:
    """A backend that may be there; `make` raises `BackendError` or `LinkError` if it is not."""

    name: str
    make: Callable[[], Backend]
    missing: Callable[[], str | None] = lambda: None
    """Says what else it lacks, once it is known that the model fits."""


@dataclass(frozen=True)
class Choice:
    """Backends in the order in which a session tries them, and a sentence on each candidate."""

    backends: list[Backend]
    reasons: list[str]

    @property
    def refusals(self) -> list[str]:
        """Sentences on those that are left out."""
        return [each for each in self.reasons if not each.endswith(_TAKEN)]


@dataclass(frozen=True)
class Simulation:
    """An accelerator that may be simulated."""

    config: AcceleratorConfig
    build: bool = False
    """Whether to build what is not built yet, which takes minutes."""
    waves: Path | None = None
    report: Callable[[str], None] = lambda _: None

    def make(self) -> Backend:
        """Return the backend; it is built when a model is loaded."""
        try:
            return SimBackend(self.config, self.waves, self.report)
        except UserError as error:
            raise BackendError(f"sim: {error}") from error

    def missing(self) -> str | None:
        """Say that it would have to be built, unless that is what was asked for."""
        if self.build or self._is_built():
            return None
        return (f"the simulation of {self.config.name} is not built yet, which takes minutes: ask "
                "for it by name once (--backend sim)")

    def _is_built(self) -> bool:
        """Whether the simulation is in the cache."""
        try:
            from hw.accelerator import Accelerator
            from sim.system import is_built

            return bool(is_built(Accelerator(self.config), waves=self.waves is not None))
        except ImportError as error:
            raise BackendError(f"sim: {error}: `tritforge doctor` says how to mend it") from error


def array_candidate(config: AcceleratorConfig, port: Path | None = None,
                    report: Callable[[str], None] = lambda _: None) -> Candidate:
    """Return the array of a configuration, simulated or behind a port, as a service of products."""
    def service() -> ArrayService:
        if port is None:
            return Bank(SimulatedEngine(config.array, report))
        try:
            return RemoteArray(Link(TerminalPort.open(port)), config.array)
        except LinkError as error:
            raise ArrayError(str(error)) from error

    return Candidate("array", lambda: ArrayBackend(service, report))


def _nothing_to_simulate() -> Backend:
    raise BackendError("sim: simulates every cycle: only if asked for, or if hardware is named "
                       "(a preset, a configuration)")


def candidates(port: Path | None = None, baud: int = 115_200,
               config: AcceleratorConfig | None = None,
               patience: Patience | None = None, gpu: bool = True,
               simulation: Simulation | None = None) -> list[Candidate]:
    """Backends of this machine: a board, a simulated one, then a GPU; the CPU is always the last.

    Parameters
    ----------
    port, baud
        Where a board is; there is none unless given.
    config
        What the board has to be, which then gets the model's image; any, with its image there
        already, unless given.
    gpu
        Whether to look for a GPU.
    simulation
        What to simulate; unless given, it is a reason only.
    """
    found = []
    if port is not None:
        place = port

        def serial() -> Backend:
            link = Link(TerminalPort.open(place, baud), patience)
            if config is None:
                return SerialBackend(link)
            image = (lambda weights: content_of(image_for(weights, config), config)
                     ) if config.is_whole else None
            return SerialBackend(link, int(config_hash(config), 16), known=limits_of(config),
                                 image=image)

        found.append(Candidate("serial", serial))
    found.append(Candidate("sim", simulation.make, simulation.missing) if simulation else
                 Candidate("sim", _nothing_to_simulate))
    if gpu:
        found.append(Candidate("gpu", GpuBackend))
    return [*found, Candidate("cpu", CpuBackend)]


def with_port(asked: str, port: Path | None) -> tuple[str, Path | None]:
    """Take a name such as ``serial:/dev/ttyUSB0`` apart: the backend and its port."""
    name, colon, place = asked.partition(":")
    return (name, Path(place)) if colon and place else (asked, port)


def choose(asked: str, offered: Sequence[Candidate], weights: DecoderWeights, window: int,
           tokens: int) -> Choice:
    """Choose backends for a model.

    Parameters
    ----------
    asked
        Name of one backend, which then has to do, or ``auto``: every one that can, in order.
    window
        Tokens in the KV cache.
    tokens
        Most tokens of the sequence.

    Raises
    ------
    UserError
        None is left, or `asked` is not offered; the message has every reason.
    """
    names = [each.name for each in offered]
    if asked != "auto" and asked not in names:
        raise UserError(f"unknown backend {asked!r} (there are: auto, {', '.join(names)})")
    if tokens > weights.shape.context:
        raise UserError(f"{tokens} tokens exceed the model's context of {weights.shape.context}")
    backends: list[Backend] = []
    reasons = []
    for each in offered:
        if asked not in ("auto", each.name):
            continue
        reason = _refusal(each, weights, window, tokens, backends)
        place = _TAKEN[len(backends) > 1]
        reasons.append(f"{each.name}: {reason}" if reason else each.name + place)
    if not backends:
        raise UserError("no backend can run this model\n" + "\n".join(reasons))
    return Choice(backends, reasons)


def _refusal(candidate: Candidate, weights: DecoderWeights, window: int, tokens: int,
             chosen: list[Backend]) -> str | None:
    """Why a candidate is left out; otherwise it is appended to `chosen`."""
    backend = None
    try:
        backend = candidate.make()
        reason = backend.limits.misfit(weights, window, tokens) or candidate.missing()
    except (BackendError, LinkError) as error:
        reason = str(error).removeprefix(f"{candidate.name}: ")
    if reason is None and backend is not None:
        chosen.append(backend)
    elif backend is not None:
        backend.close()
    return reason
