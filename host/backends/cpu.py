# SPDX-License-Identifier: Apache-2.0
"""The exact integer model on this machine: slow, and always there."""

import io
import zlib
from collections.abc import Sequence

import numpy as np

from golden_model.exact import CacheState, ExactDecoder
from golden_model.weights import DecoderWeights
from host.backends.base import Backend, BackendError, Limits, Logits, SavedState
from host.backends.sampling import GREEDY, Sampling

__all__ = ["CpuBackend"]

FORM = "exact-1"
MAX_STATE = 1 << 30
"""Most bytes of a state once it is unpacked."""


class CpuBackend(Backend):
    """See :class:`golden_model.exact.ExactDecoder`."""

    name = "cpu"

    def __init__(self) -> None:
        self._decoder: ExactDecoder | None = None
        self._logits: Logits | None = None
        self._tokens = 0

    @property
    def _loaded(self) -> ExactDecoder:
        if self._decoder is None:
            raise BackendError("cpu: no model is loaded")
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
                self._decoder = ExactDecoder(weights, window=window)
            except ValueError as error:
                raise BackendError(f"cpu: {error}") from error
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
            raise BackendError(f"cpu: {error}") from error
        self._tokens += len(tokens)
        self._logits = Logits(logits[-1], float(decoder.logit_scale[-1]))
        return sampling.draw(logits[-1], decoder.logit_scale[-1])

    def logits(self) -> Logits | None:
        """Logits behind the latest token."""
        return self._logits

    def save(self) -> SavedState:
        """Copy what was read so far."""
        decoder, out = self._loaded, io.BytesIO()
        if decoder.position:
            for array in decoder.state():
                np.lib.format.write_array(out, array, allow_pickle=False)
        return SavedState(FORM, decoder.position, zlib.compress(out.getvalue(), 1))

    def restore(self, state: SavedState) -> None:
        """Go on from a state; `BackendError` if it is of another form or unsound."""
        decoder = self._loaded
        if state.form != FORM:
            raise BackendError(f"cpu: a state of form {state.form!r} is not {FORM!r}")
        self._logits = None
        try:
            unpack = zlib.decompressobj()
            raw = unpack.decompress(state.data, MAX_STATE)
            if not unpack.eof:
                raise ValueError("it is cut off or too large")
            if not raw and state.position == 0:
                decoder.reset()
                return
            source = io.BytesIO(raw)
            arrays = [np.lib.format.read_array(source, allow_pickle=False) for _ in range(4)]
            found = CacheState(*arrays)
            if source.read(1) or found.k.dtype != np.int64 or found.v.dtype != np.int64:
                raise ValueError("it holds something else")
            if found.k_scale.shape[1:2] != (1,) or found.k_scale.shape[3:4] != (state.position,):
                raise ValueError("it is not of one sequence of the length that it claims")
            decoder.restore(found)
        except (ValueError, EOFError, SyntaxError, MemoryError, zlib.error, OverflowError,
                TypeError) as error:
            raise BackendError(f"cpu: the state cannot be used: {error}") from error

    def counters(self) -> dict[str, int]:
        """Count of tokens read since the model was loaded."""
        return {"tokens": self._tokens}

    def close(self) -> None:
        """Let go of the model."""
        self._decoder = self._logits = None
