# SPDX-License-Identifier: Apache-2.0
"""The whole stack against faults at random points; ``python -m host.link.trial`` records figures.

A session on a serial backend, with a pseudo-terminal, frames and a modelled accelerator behind it:
the image is uploaded and checked, a text is generated, and somewhere in between one thing goes
wrong.  The tokens have to be the golden model's, in bounded time.
"""

import argparse
import collections
import functools
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from golden_model.config import ModelShape, Numerics
from golden_model.exact import ExactDecoder
from golden_model.presets import preset
from golden_model.sampling import TemperatureSampler, greedy
from golden_model.weights import random_weights
from host.backends.cpu import CpuBackend
from host.backends.serial import SerialBackend
from host.backends.session import Session
from host.cli.output import record
from host.fit import image_for
from host.link.content import content_of
from host.link.faults import LASTING, PASSING, FaultyPort
from host.link.link import Link, Patience
from host.link.model import RegisterModel
from host.link.port import TerminalPort
from host.link.server import Server, modelled

__all__ = ["COUNT", "HANG_SECONDS", "PROMPT", "Strike", "golden", "main", "strike", "strikes"]

SHAPE = ModelShape(vocab=19, hidden=16, ffn=16, layers=1, heads=2, kv_heads=1, head_dim=8,
                   context=24)
WEIGHTS = random_weights(SHAPE, Numerics(), 212)  # its greedy text does not repeat one token
CONFIG = preset("tiny")
PROMPT, COUNT = [0, 7, 3], 6
HANG_SECONDS = 30.0
"""Seconds after which a run counts as hung; a sound one ends in a few."""
BRIEF = Patience(first=0.02, longest=0.04, attempts=3)
RESULT = Path(__file__).parents[2] / "docs" / "results" / "link" / "faults.json"


class Strike(NamedTuple):
    """One run with one fault."""

    fault: str
    piece: int
    """Piece of bytes that it hit, counted over both directions."""
    uploading: bool
    """Whether it hit ahead of the first token."""
    left: bool
    """Whether the device was given up, and the CPU went on."""
    equal: bool
    """Whether the tokens are the golden model's."""
    seconds: float


def golden(temperature: float | None, seed: int) -> list[int]:
    """Tokens of an undisturbed run."""
    sampler = greedy if temperature is None else TemperatureSampler(temperature, seed)
    return list(ExactDecoder(WEIGHTS, window=CONFIG.window).generate(PROMPT, COUNT, sampler))


def _fresh(queue: int) -> RegisterModel:
    """Make registers as after power-up: without an image."""
    model = modelled(CpuBackend(), WEIGHTS, CONFIG)
    model.geometry = model.geometry._replace(queue=queue)
    return model


@contextmanager
def _stack(queue: int, patience: Patience, **faults: Any) -> Iterator[
        tuple[SerialBackend, FaultyPort]]:
    """Open a serial backend whose port has faults, the device behind it."""
    with Server(_fresh(queue)) as server:
        port = FaultyPort(TerminalPort.open(server.path), on_reset=lambda: server.device.restart(
            functools.partial(_fresh, queue)), **faults)
        content = content_of(image_for(WEIGHTS, CONFIG), CONFIG)
        yield SerialBackend(Link(port, patience), stall_seconds=0.1,
                            image=lambda _: content), port


@functools.cache
def pieces() -> tuple[int, int]:
    """Pieces of bytes ahead of the first token of an undisturbed run, and all of them."""
    with _stack(32, Patience()) as (serial, port):
        session = Session(WEIGHTS, [serial], CONFIG.window)
        _ = session.backend
        loaded = port.pieces
        found = list(session.generate(PROMPT, COUNT))
        session.close()
    if found != golden(None, 0):
        raise RuntimeError("an undisturbed run gives other tokens than the golden model")
    return loaded, port.pieces


def strike(point: int, make: Callable[..., Session] = Session) -> Strike:
    """One run with one fault; `point` says which, where, and how the text is drawn."""
    chance = random.Random(point)
    fault = chance.choice(LASTING + PASSING)
    loaded, most = pieces()
    piece = chance.randrange(most)
    temperature, seed = chance.choice([(None, 0), (0.8, point)])
    queue, save_every = chance.choice([1, 2, 32]), chance.choice([0, 2])
    notices: list[str] = []
    start = time.monotonic()
    with _stack(queue, BRIEF, at={piece: fault}, seed=point) as (serial, _):
        session = make(WEIGHTS, [serial, CpuBackend()], CONFIG.window, save_every=save_every,
                       notice=notices.append)
        tokens = list(session.generate(PROMPT, COUNT, temperature, seed))
        session.close()
    return Strike(fault, piece, piece < loaded, bool(notices), tokens == golden(temperature, seed),
                  time.monotonic() - start)


def strikes(count: int, progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Figures of `count` runs."""
    found = []
    for point in range(count):
        found.append(strike(point))
        progress(point + 1)
    seconds = [each.seconds for each in found]
    faults = collections.Counter(each.fault for each in found)
    left = collections.Counter(each.fault for each in found if each.left)
    return {
        "runs": count, "tokens": count * COUNT, "points": pieces()[1],
        "wrong": sum(not each.equal for each in found),
        "hung": sum(each > HANG_SECONDS for each in seconds),
        "while_uploading": sum(each.uploading for each in found),
        "device_left": sum(left.values()),
        "faults": {name: {"runs": faults[name], "device_left": left[name]}
                   for name in sorted(faults)},
        "seconds": {"median": round(statistics.median(seconds), 3),
                    "longest": round(max(seconds), 3)},
    }


def main() -> int:
    """Run, and write the figures; 1 if a token was wrong or a run hung."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    result = strikes(asked.runs, lambda done: print(f"{done} of {asked.runs}", flush=True)
                     if done % 100 == 0 else None)
    record(asked.out, "python -m host.link.trial", result)
    return int(bool(result["wrong"] or result["hung"]))


if __name__ == "__main__":
    raise SystemExit(main())
