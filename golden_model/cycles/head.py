# SPDX-License-Identifier: Apache-2.0
"""Cycles of ``head``: the array, three planes to a logit, the choice of a token."""

from collections.abc import Callable
from typing import NamedTuple

from golden_model.control import scale_products
from golden_model.cycles.engine import ArrayRun
from golden_model.cycles.vectors import ACCEPT
from golden_model.decoder_config import DecoderConfig
from golden_model.head import sampler
from golden_model.head.plane_sum import PlaneSteps

__all__ = ["STEADY", "Head", "head", "long_head"]


STEADY = 48
"""Blocks of tokens by which the choice of a token has begun and nothing waits that did at first."""


class Head(NamedTuple):
    """Cycles of a ``head`` that do not depend on the token."""

    last: int
    """Last logit."""
    run: int
    """Last sums of the array."""

    def end(self, config: DecoderConfig, vocab: int, drawn: int | None) -> int:
        """Cycle in which the instruction is accepted; `drawn`: the token, if it is drawn."""
        token = sampler.token_cycle(config.sampler, self.last, vocab, drawn or 0,
                                    drawn is not None)
        return max(token, self.run) + ACCEPT


def long_head(compute: Callable[[int], Head], vocab: int, rows: int) -> Head:
    """Cycles of a ``head`` whose blocks of `rows` tokens take equally long from the `STEADY`th on.

    `compute` gives those of a vocabulary.
    """
    beyond = max(0, vocab // rows - STEADY)
    first = compute(vocab - beyond * rows)
    if not beyond:
        return first
    after = compute(vocab - (beyond - 1) * rows)
    return Head(*(a + beyond * (b - a) for a, b in zip(first, after, strict=True)))


def head(config: DecoderConfig, vocab: int, run: ArrayRun, start: int, scaled: int,
         drawing: bool) -> Head:
    """Cycles of a ``head`` that is offered in cycle `start`.

    Parameters
    ----------
    scaled
        The first cycle in which the codes' scale stands.
    drawing
        The token is drawn, not the likeliest.
    """
    scale = max(start, scaled) + scale_products.latency(config.unit, 1)
    first = sampler.first_logit(config.sampler, config.unit, scale, drawing)
    planes, now, logits, last = PlaneSteps(config.plane_sum, vocab), start, 0, 0
    while logits < vocab or not run.done:
        moved = now >= first and planes.valid
        logits, last = logits + moved, now if moved else last
        planes.tick(run.step(now, planes.ready), now >= first)
        now += 1
    return Head(last, run.done)
