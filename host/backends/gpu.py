# SPDX-License-Identifier: Apache-2.0
"""The exact integer model on an NVIDIA GPU: the CPU's tokens, logits and states, bit for bit."""

from collections.abc import Callable, Sequence

import numpy as np

from golden_model.weights import DecoderWeights
from host.backends.base import Backend, BackendError, Limits, Logits, SavedState
from host.backends.exact_state import pack_state, unpack_state
from host.backends.sampling import GREEDY, Sampling
from host.gpu.runtime import Device, device
from host.gpu.token.decoder import TokenDecoder
from host.gpu.token.launches import misfit

__all__ = ["GpuBackend", "GpuLimits"]


class GpuLimits(Limits):
    """What the kernels hold; depends on the model as a whole."""

    def misfit(self, weights: DecoderWeights, window: int, tokens: int) -> str | None:
        """Say why a model cannot run for so many tokens at that window, or nothing if it can."""
        return misfit(weights, window)


class GpuBackend(Backend):
    """See :class:`host.gpu.token.decoder.TokenDecoder`.

    Parameters
    ----------
    gpu
        The device; the first of this machine unless given.
    make
        Makes the decoder.

    Raises
    ------
    BackendError
        No GPU can be used here; the message says why.
    """

    name = "gpu"

    def __init__(self, gpu: Device | None = None,
                 make: Callable[[Device, DecoderWeights, int], TokenDecoder] = TokenDecoder,
                 ) -> None:
        self._gpu = gpu or device()
        self._make = make
        self._decoder: TokenDecoder | None = None
        self._tokens = 0
        self._known = False

    @property
    def _loaded(self) -> TokenDecoder:
        if self._decoder is None:
            raise BackendError("gpu: no model is loaded")
        return self._decoder

    @property
    def limits(self) -> Limits:
        """Formats and widths of the kernels."""
        return GpuLimits()

    def load(self, weights: DecoderWeights, window: int) -> None:
        """Make ready for a model; the sequence is empty afterwards."""
        loaded = self._decoder
        if loaded is None or loaded.weights is not weights or loaded.window != window:
            self._decoder = None  # its memory first
            self._decoder = self._make(self._gpu, weights, window)
        self._tokens = 0
        self.reset()

    def reset(self) -> None:
        """Forget the sequence."""
        self._loaded.reset()
        self._known = False

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self._loaded.position

    def prefill(self, tokens: Sequence[int], sampling: Sampling = GREEDY) -> int:
        """Read tokens (one at least) and return the one that follows them, which is not read."""
        decoder = self._loaded
        chosen = decoder.read(tokens)
        self._tokens += len(tokens)
        self._known = True
        if sampling.unit is None:
            return chosen
        values, scale = decoder.logits()
        return sampling.draw(values, np.asarray(scale))

    def logits(self) -> Logits | None:
        """Logits behind the latest token."""
        return Logits(*self._loaded.logits()) if self._known else None

    def save(self) -> SavedState:
        """Copy what was read so far; rows beyond the window, which nobody sees again, are zero."""
        decoder = self._loaded
        return pack_state(decoder.state() if decoder.position else None, decoder.position)

    def restore(self, state: SavedState) -> None:
        """Go on from a state; `BackendError` if it is of another form or unsound."""
        decoder, found = self._loaded, unpack_state(state, self.name)
        self._known = False
        if found is None:
            decoder.reset()
            return
        try:
            decoder.restore(found)
        except BackendError as error:
            raise BackendError(f"gpu: the state cannot be used: {error}") from error

    def counters(self) -> dict[str, int]:
        """Count of tokens read since the model was loaded, and of launches that one takes."""
        graph = None if self._decoder is None else self._decoder.graph
        return {"tokens": self._tokens} | ({} if graph is None else {"launches": graph.nodes})

    def close(self) -> None:
        """Let go of the model and its memory."""
        self._decoder = None
