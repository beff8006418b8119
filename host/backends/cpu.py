# SPDX-License-Identifier: Apache-2.0
"""The exact integer model on this machine: slow, and always there."""

from collections.abc import Sequence

import numpy as np

from golden_model.exact import ExactDecoder
from golden_model.weights import DecoderWeights
from host.backends.base import Backend, BackendError, Limits, Logits, SavedState
from host.backends.compiled import CompiledDecoder, worth_it
from host.backends.exact_state import pack_state, unpack_state
from host.backends.sampling import GREEDY, Sampling

__all__ = ["CpuBackend", "ExactBackend"]


class ExactBackend(Backend):
    """An exact decoder on this machine, or one whose products are computed elsewhere."""

    def __init__(self) -> None:
        self._decoder: ExactDecoder | None = None
        self._logits: Logits | None = None
        self._tokens = 0

    def _make(self, weights: DecoderWeights, window: int) -> ExactDecoder:
        """Make the decoder of a model."""
        return ExactDecoder(weights, window=window)

    @property
    def _loaded(self) -> ExactDecoder:
        if self._decoder is None:
            raise BackendError(f"{self.name}: no model is loaded")
        return self._decoder

    @property
    def limits(self) -> Limits:
        """It has none."""
        return Limits()

    def load(self, weights: DecoderWeights, window: int) -> None:
        """Make ready for a model; the sequence is empty afterwards."""
        loaded = self._decoder
        if loaded is None or loaded.weights is not weights or loaded.window != window:
            try:
                self._decoder = self._make(weights, window)
            except ValueError as error:
                raise BackendError(f"{self.name}: {error}") from error
        self._tokens = 0
        self.reset()

    def reset(self) -> None:
        """Forget the sequence."""
        self._loaded.reset()
        self._logits = None

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self._loaded.position

    def prefill(self, tokens: Sequence[int], sampling: Sampling = GREEDY) -> int:
        """Read tokens (one at least) and return the one that follows them, which is not read."""
        decoder = self._loaded
        try:
            logits = decoder.forward(np.asarray(tokens, np.int64))
        except ValueError as error:
            raise BackendError(f"{self.name}: {error}") from error
        self._tokens += len(tokens)
        self._logits = Logits(logits[-1], float(decoder.logit_scale[-1]))
        return sampling.draw(logits[-1], decoder.logit_scale[-1])

    def logits(self) -> Logits | None:
        """Logits behind the latest token."""
        return self._logits

    def save(self) -> SavedState:
        """Copy what was read so far."""
        decoder = self._loaded
        return pack_state(decoder.state() if decoder.position else None, decoder.position)

    def restore(self, state: SavedState) -> None:
        """Go on from a state; `BackendError` if it is of another form or unsound."""
        decoder, found = self._loaded, unpack_state(state, self.name)
        self._logits = None
        if found is None:
            decoder.reset()
            return
        try:
            decoder.restore(found)
        except (ValueError, TypeError) as error:
            raise BackendError(f"{self.name}: the state cannot be used: {error}") from error

    def counters(self) -> dict[str, int]:
        """Count of tokens read since the model was loaded."""
        return {"tokens": self._tokens}

    def close(self) -> None:
        """Let go of the model."""
        self._decoder = self._logits = None


class CpuBackend(ExactBackend):
    """See :class:`golden_model.exact.ExactDecoder`; large products are compiled, with numba."""

    name = "cpu"

    def _make(self, weights: DecoderWeights, window: int) -> ExactDecoder:
        decoder = CompiledDecoder if worth_it(weights) else ExactDecoder
        return decoder(weights, window=window)
