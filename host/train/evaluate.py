# SPDX-License-Identifier: Apache-2.0
"""Perplexity, zeros per projection and the residual's range, on whole windows."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from golden_model.config import ModelShape
from host.train.model import Decoder, Tap, silent
from host.train.scheme import Scheme

__all__ = ["Perplexity", "ZeroCounter", "Zeros", "active_share", "perplexity", "residual_peak",
           "zeros"]

BATCH = 32


class Perplexity(NamedTuple):
    """Perplexity per token, the sum of losses (nats) and the tokens that it is over."""

    perplexity: float
    nats: float
    tokens: int


class Zeros(NamedTuple):
    """Shares of zeros among what each projection reads, as in the paper's Table 2.

    ``up`` counts rows that need no product too: 1 - (1 - input zeros)(1 - gate output zeros).
    """

    qkv: float
    out: float
    up: float
    gate: float
    down: float
    gate_output: float


class ZeroCounter:
    """Tap of :meth:`host.train.model.Decoder.forward` that counts zeros of all it is given."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, int]] = {}

    def __call__(self, name: str, value: Tensor) -> None:
        """Count the zeros and the elements of `value`."""
        zero, total = self.counts.get(name, (0, 0))
        self.counts[name] = zero + int((value == 0).sum()), total + value.numel()

    def zeros(self) -> Zeros:
        """Shares over everything counted so far."""
        share = {name: zero / total for name, (zero, total) in self.counts.items()}
        return Zeros(qkv=share["qkv"], out=share["out"], gate=share["gate"], down=share["down"],
                     up=1 - (1 - share["gate"]) * (1 - share["gate_output"]),
                     gate_output=share["gate_output"])


@torch.no_grad()
def perplexity(model: Decoder, windows: Tensor, scheme: Scheme, tap: Tap = silent) -> Perplexity:
    """Perplexity over ``windows`` int64 [n, context]: every token after BOS is predicted.

    Runs in the model's own precision, without autocast or compilation.  `tap` sees intermediates.
    """
    training = model.training
    model.eval()
    nats, tokens = 0.0, 0
    with torch.compiler.set_stance("force_eager"):
        for batch in windows.split(BATCH):
            logits = model(batch, scheme, tap)[:, :-1]
            target = batch[:, 1:]
            nats += float(functional.cross_entropy(logits.flatten(0, 1), target.flatten(),
                                                   reduction="sum"))
            tokens += target.numel()
    model.train(training)
    return Perplexity(math.exp(nats / tokens), nats, tokens)


def zeros(model: Decoder, windows: Tensor, scheme: Scheme) -> Zeros:
    """Zeros over ``windows`` int64 [n, context], averaged over layers and tokens."""
    counter = ZeroCounter()
    perplexity(model, windows, scheme, counter)
    return counter.zeros()


def active_share(shape: ModelShape, found: Zeros) -> float:
    """Share of the ternary parameters that meet a non-zero input, weighted by their number."""
    by_projection = {"wq": found.qkv, "wk": found.qkv, "wv": found.qkv, "wo": found.out,
                     "gate": found.gate, "up": found.up, "down": found.down}
    active = sum(m * k * (1 - by_projection[p]) for p, (m, k) in shape.projections.items())
    return active / sum(m * k for m, k in shape.projections.values())


@torch.no_grad()
def residual_peak(model: Decoder, windows: Tensor, scheme: Scheme) -> float:
    """Largest magnitude of the residual stream over ``windows`` int64 [n, context]."""
    peak = 0.0

    def track(name: str, value: Tensor) -> None:
        nonlocal peak
        if name == "residual":
            peak = max(peak, float(value.abs().max()))

    model.eval()
    for batch in windows.split(BATCH):
        model(batch, scheme, track)
    return peak
