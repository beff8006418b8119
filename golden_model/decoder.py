# SPDX-License-Identifier: Apache-2.0
"""What both decoders share: token checks, position, cache window, generation, traces."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden_model.arrays import Codes, Floats, Ints
from golden_model.attention.attend import MAX_ROWS
from golden_model.config import Numerics
from golden_model.sampling import Sampler, greedy
from golden_model.weights import DecoderWeights

__all__ = ["Capture", "Decoder", "LinearTrace"]


class LinearTrace(NamedTuple):
    """One ternary product as it happened; leading axes are those of the tokens."""

    codes: Codes
    """Input codes [..., K]."""
    sums: Ints
    """Integer outputs [..., M]."""
    in_scale: Floats
    """Scale of the input codes [...]."""
    out_scale: Floats
    """Scale of the sums [...]."""


Capture = dict[str, LinearTrace]
"""Traces by name: ``layers.0.wq`` to ``layers.N.down``, and ``head``."""


class Decoder(ABC):
    """A decoder with a KV cache, fed token by token or many at once, alone or as a batch.

    Parameters
    ----------
    weights
        The model.
    numerics
        Switches; the model's own unless given.
    window
        Tokens that the cache keeps, BOS included; the context unless given.
    """

    logit_scale: Floats
    """Real value of one unit of the latest logits, one a token."""

    def __init__(self, weights: DecoderWeights, numerics: Numerics | None = None,
                 window: int | None = None) -> None:
        self.weights = weights
        self.shape = weights.shape
        self.numerics = numerics or weights.numerics
        self.window = self.shape.context if window is None else window
        if not 2 <= self.window <= MAX_ROWS and self.shape.context > 1:
            raise ValueError(f"window must lie in 2..{MAX_ROWS}, not {self.window}")
        self.reset()

    def reset(self) -> None:
        """Forget the cache; the next token is at position 0."""
        self.position = 0
        self._batch = 0
        self.logit_scale = np.ones(0)

    @abstractmethod
    def _allocate(self, batch: int) -> None:
        """Make an empty cache for `batch` sequences."""

    @abstractmethod
    def _forward(self, tokens: Ints, capture: Capture | None) -> NDArray[Any]:
        """Logits [B, T, vocab] of tokens [B, T]; sets ``logit_scale`` [B, T]."""

    def forward(self, tokens: ArrayLike, capture: Capture | None = None) -> NDArray[Any]:
        """Append tokens to the cache and return the logits after each.

        Parameters
        ----------
        tokens
            [T], or [B, T] for B independent sequences of equal length.
        capture
            Filled with a `LinearTrace` of every product, if given.

        Returns
        -------
        ndarray
            Logits [T, vocab] or [B, T, vocab]; times ``logit_scale`` they are real.

        Raises
        ------
        ValueError
            No token, a token outside the vocabulary, another batch size than the cache holds, or
            more positions than the context.
        """
        given = np.asarray(tokens)
        if given.ndim not in (1, 2) or given.size == 0 or given.dtype.kind not in "iu":
            raise ValueError(f"tokens must be integers [T] or [B, T], not {given.dtype}"
                             f"{list(given.shape)}")
        ids = np.atleast_2d(given).astype(np.int64)
        if ids.min() < 0 or ids.max() >= self.shape.vocab:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise ValueError(f"tokens must lie in 0..{self.shape.vocab - 1}, not {wrong}")
        batch, count = ids.shape
        if self.position + count > self.shape.context:
            raise ValueError(f"positions must stay below the context of {self.shape.context}, not "
                             f"reach {self.position + count - 1}; call reset()")
        if self.position == 0:
            self._allocate(batch)
            self._batch = batch
        elif batch != self._batch:
            raise ValueError(f"the cache holds {self._batch} sequences, not {batch}; call reset()")
        logits = self._forward(ids, capture)
        self.position += count
        if given.ndim == 2:
            return logits
        self.logit_scale = self.logit_scale[0]
        if capture is not None:
            capture.update({name: LinearTrace(*(array[0] for array in trace))
                            for name, trace in capture.items()})
        return np.asarray(logits[0])

    def generate(self, prompt_tokens: ArrayLike, count: int,
                 sampler: Sampler = greedy) -> Iterable[int]:
        """Feed a prompt [T] and yield `count` tokens, each fed back before the next."""
        fed: ArrayLike = prompt_tokens
        for _ in range(count):
            logits = self.forward(fed)
            token = sampler(logits[-1], self.logit_scale[-1])
            yield token
            fed = [token]
