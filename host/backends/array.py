# SPDX-License-Identifier: Apache-2.0
"""The exact decoder on the host, its matrix products on an array of ternary weights.

Every product that the array can hold is served by it, the head's too, as three products of trits;
what is beyond its limits stays on the host, and `placement` says why.  Integers are the same either
way, so tokens, logits and states are the CPU's.
"""

from collections.abc import Callable, Sequence

import numpy as np

from golden_model.arrays import Codes, Ints
from golden_model.config import ArrayConfig
from golden_model.exact import ExactDecoder
from golden_model.head_config import PLANES
from golden_model.linear import Linear
from golden_model.quant.activations import PEAK
from golden_model.weights import DecoderWeights
from host.array.service import ArrayError, ArrayRefusedError, ArrayService, check_product
from host.backends.base import BackendError
from host.backends.cpu import ExactBackend
from host.backends.sampling import GREEDY, Sampling

__all__ = ["ArrayBackend", "ServedDecoder", "planes_of"]

ON_ARRAY = "array"
_WIDE = "int8"


def planes_of(codes: Codes) -> list[Codes]:
    """Matrices of trits, the top one first, of a matrix of three trits a weight."""
    left, planes = codes.astype(np.int64), []
    for _ in range(PLANES):
        plane = (left + 1) % 3 - 1
        left = (left - plane) // 3
        planes.append(plane.astype(np.int8))
    return planes[::-1]


def _digits(config: ArrayConfig, fmt: str, rows: int, columns: int) -> int:
    """Digits of a format; `ArrayRefusedError` if the array takes no such product."""
    digits = 2 if fmt == _WIDE else 1
    check_product(config, rows, columns, digits)
    peak = 1 << config.digit_bits - 1
    if digits == 1 and PEAK[fmt] > peak:
        raise ArrayRefusedError(f"{fmt} has codes up to {PEAK[fmt]}, the array takes up to {peak} "
                                "in a digit (array.digit_bits)")
    return digits


class _Served(Linear):
    """A matrix [M, K] on an array: one of trits, or several whose sums make up the product."""

    def __init__(self, service: ArrayService, matrices: Sequence[Codes], digits: int) -> None:
        self._service, self._digits = service, digits
        self._numbers = [service.place(each) for each in matrices]

    def __call__(self, codes: Codes) -> Ints:
        """Multiply codes [..., K] to sums [..., M]."""
        rows = [self._product(row) for row in codes.reshape(-1, codes.shape[-1])]
        return np.stack(rows).reshape(*codes.shape[:-1], -1)

    def _product(self, codes: Codes) -> Ints:
        total: Ints = np.zeros(1, np.int64)
        for number in self._numbers:
            total = 3 * total + self._service.multiply(number, codes, self._digits)
        return total


class ServedDecoder(ExactDecoder):
    """An exact decoder whose products are an array's, where that holds them."""

    def __init__(self, weights: DecoderWeights, service: ArrayService, window: int) -> None:
        super().__init__(weights, window=window)
        self.placement: dict[str, str] = {}
        """Where each matrix is multiplied: ``array``, or why on the host."""
        numerics = weights.numerics
        formats = {"wo": numerics.wo_format, "down": _WIDE}
        for index, layer in enumerate(weights.layers):
            ready = self._layers[index].matrices
            for part, matrix in layer.matrices.items():
                served = self._serve(service, f"layers.{index}.{part}", [matrix.trits],
                                     formats.get(part, numerics.act_format))
                ready[part] = served or ready[part]
        self._head = self._serve(service, "head", planes_of(weights.embedding),
                                 _WIDE) or self._head

    def _serve(self, service: ArrayService, name: str, matrices: Sequence[Codes],
               fmt: str) -> Linear | None:
        """Place a matrix; nothing if the array does not take it."""
        try:
            digits = _digits(service.config, fmt, *matrices[0].shape)
            served = _Served(service, matrices, digits)
        except ArrayRefusedError as error:
            self.placement[name] = str(error)
            return None
        self.placement[name] = ON_ARRAY
        return served


class ArrayBackend(ExactBackend):
    """See the module.

    Parameters
    ----------
    make
        Opens the array's service; called when a model is loaded.
    notice
        Told which matrices stay on the host, and why.
    """

    name = "array"

    def __init__(self, make: Callable[[], ArrayService],
                 notice: Callable[[str], None] = lambda _: None) -> None:
        super().__init__()
        self._open, self._notice = make, notice
        self._service: ArrayService | None = None
        self.placement: dict[str, str] = {}
        """Where each matrix of the loaded model is multiplied."""

    def _make(self, weights: DecoderWeights, window: int) -> ExactDecoder:
        """Place every matrix that the array takes."""
        try:
            if self._service is not None:
                self._service.close()
            self._service = self._open()
            decoder = ServedDecoder(weights, self._service, window)
        except ArrayError as error:
            raise BackendError(f"array: {error}") from error
        self.placement = decoder.placement
        if all(reason != ON_ARRAY for reason in self.placement.values()):
            reasons = "; ".join(sorted(set(self.placement.values())))
            raise BackendError(f"array: it takes none of the model's products: {reasons}")
        for name, reason in self.placement.items():
            if reason != ON_ARRAY:
                self._notice(f"{name} stays on the host: {reason}")
        return decoder

    def prefill(self, tokens: Sequence[int], sampling: Sampling = GREEDY) -> int:
        """Read tokens (one at least) and return the one that follows them, which is not read."""
        try:
            return super().prefill(tokens, sampling)
        except ArrayError as error:
            raise BackendError(f"array: {error}") from error

    def close(self) -> None:
        """Let go of the model and of the array."""
        super().close()
        if self._service is not None:
            self._service.close()
            self._service = None
