# SPDX-License-Identifier: Apache-2.0
"""One sequence on the GPU: the exact model's tokens and logits, a token as one CUDA graph.

Position, token and cache stay in the GPU's memory and are read when the graph runs, so the same
graph serves every token, and nothing is read back inside one.
"""

from collections.abc import Sequence

import numpy as np

from golden_model import smallfloat
from golden_model.arrays import Ints
from golden_model.exact import CacheState
from golden_model.weights import DecoderWeights
from host.backends.base import BackendError
from host.gpu.runtime import Device
from host.gpu.token.launches import Launches, misfit
from host.gpu.token.products import Products, TensorProducts

__all__ = ["TokenDecoder"]


class TokenDecoder:
    """A model in the GPU's memory and one sequence on it.

    Parameters
    ----------
    device
        Where.
    weights, window
        The model, and the tokens that its cache keeps, BOS included.
    products
        Matrix kernels; those of :mod:`host.gpu.matrix` unless given.
    sparse
        Multiply Wo and Wdown by lists of the inputs that are not zero, instead of whole vectors.

    Raises
    ------
    BackendError
        The model is beyond the kernels; the message says in what.
    """

    def __init__(self, device: Device, weights: DecoderWeights, window: int,
                 products: Products | None = None, sparse: bool = False) -> None:
        reason = misfit(weights, window)
        if reason is not None:
            raise BackendError(f"gpu: {reason}")
        self.device, self.weights, self.window = device, weights, window
        launches = Launches(device, weights, window, products or TensorProducts(device), sparse)
        self.launches = launches
        self.cache = launches.cache
        self._tokens = np.zeros(weights.shape.context + 1, np.int32)
        self.position = 0
        with device.capture() as capture:
            launches.token()
        self.graph = capture.graph
        """A token with its logits and its successor."""
        with device.capture() as capture:
            launches.token(head=False)
        self._silent = capture.graph

    def reset(self) -> None:
        """Forget the sequence."""
        self.position = 0
        self.launches.position.put(np.zeros(1, np.int32))

    def read(self, tokens: Sequence[int]) -> int:
        """Read tokens and return the greedy successor of the last."""
        vocab, context = self.weights.shape.vocab, self.weights.shape.context
        end = self.position + len(tokens)
        if not tokens or min(tokens) < 0 or max(tokens) >= vocab:
            raise BackendError(f"gpu: tokens must lie in 0..{vocab - 1}, one at least")
        if end > context:
            raise BackendError(f"gpu: {end} tokens exceed the context of {context}")
        self._tokens[self.position:end] = tokens
        launches = self.launches
        launches.tokens.put(self._tokens)
        launches.given.put(np.full(1, end, np.int32))
        for _ in range(len(tokens) - 1):
            self._silent.replay()
        self.graph.replay()
        chosen = int(launches.chosen.get()[0])
        self.position = end
        return chosen

    def run(self, count: int) -> list[int]:
        """Continue greedily by `count` tokens, the first of them the latest successor."""
        if self.position == 0 or self.position + count > self.weights.shape.context:
            raise BackendError(f"gpu: {count} tokens cannot follow {self.position}")
        for _ in range(count):
            self.graph.replay()
        self.device.synchronize()
        start, self.position = self.position, self.position + count
        self._tokens = self.launches.tokens.get()
        return [int(token) for token in self._tokens[start:self.position]]

    def logits(self) -> tuple[Ints, float]:
        """Logits [vocab] behind the latest token, and the real value of one unit."""
        values = self.launches.logits.get().reshape(-1).astype(np.int64)
        scale = smallfloat.from_bits(self.launches.logit_scale.get()[0])
        return values, float(scale)

    def state(self) -> CacheState:
        """Copy the cache; the position must not be 0."""
        return self.cache.read(self.position)

    def restore(self, state: CacheState) -> None:
        """Go on from a state; `BackendError` if it cannot be one of this model."""
        position = state.k_scale.shape[-1] if state.k_scale.ndim else 0
        if position > self.weights.shape.context:
            raise BackendError(f"a state of {position} positions exceeds the context of "
                               f"{self.weights.shape.context}")
        self.cache.write(state)
        self.position = position
        self.launches.position.put(np.full(1, position, np.int32))
