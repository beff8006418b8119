# SPDX-License-Identifier: Apache-2.0
"""Which backends run a model, in which order, and why not the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import config_hash
from golden_model.weights import DecoderWeights
from host.backends.base import Backend, BackendError, Limits
from host.backends.cpu import CpuBackend
from host.backends.gpu import GpuBackend
from host.backends.serial import SerialBackend
from host.errors import UserError
from host.link.errors import LinkError
from host.link.link import Link, Patience
from host.link.port import TerminalPort

__all__ = ["Candidate", "Choice", "candidates", "choose", "limits_of"]


@dataclass(frozen=True)
class Candidate:
    """A backend that may be there; `make` raises `BackendError` or `LinkError` if it is not."""

    name: str
    make: Callable[[], Backend]


@dataclass(frozen=True)
class Choice:
    """Backends in the order in which a session tries them, and a sentence on each candidate."""

    backends: list[Backend]
    reasons: list[str]


def limits_of(config: AcceleratorConfig) -> Limits:
    """Return what an accelerator of that configuration holds."""
    return Limits(window=config.window, columns=config.array.max_k, rows=config.array.max_m,
                  numerics=config.numerics)


def candidates(port: Path | None = None, baud: int = 115_200,
               config: AcceleratorConfig | None = None,
               patience: Patience | None = None, gpu: bool = True) -> list[Candidate]:
    """Backends of this machine: a board, then a GPU; the CPU is always the last.

    Parameters
    ----------
    port, baud
        Where a board is; there is none unless given.
    config
        What the board has to be; any, unless given.
    gpu
        Whether to look for a GPU.
    """
    found = []
    wanted = None if config is None else int(config_hash(config), 16)
    known = None if config is None else limits_of(config)
    if port is not None:
        place = port

        def serial() -> Backend:
            link = Link(TerminalPort.open(place, baud), patience)
            return SerialBackend(link, wanted, known=known)

        found.append(Candidate("serial", serial))
    if gpu:
        found.append(Candidate("gpu", GpuBackend))
    return [*found, Candidate("cpu", CpuBackend)]


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
        place = "first choice" if len(backends) == 1 else "stands by"
        reasons.append(f"{each.name}: {reason or place}")
    if not backends:
        raise UserError("no backend can run this model\n" + "\n".join(reasons))
    return Choice(backends, reasons)


def _refusal(candidate: Candidate, weights: DecoderWeights, window: int, tokens: int,
             chosen: list[Backend]) -> str | None:
    """Why a candidate is left out; otherwise it is appended to `chosen`."""
    backend = None
    try:
        backend = candidate.make()
        reason = backend.limits.misfit(weights, window, tokens)
    except (BackendError, LinkError) as error:
        reason = str(error).removeprefix(f"{candidate.name}: ")
    if reason is None and backend is not None:
        chosen.append(backend)
    elif backend is not None:
        backend.close()
    return reason
