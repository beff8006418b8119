# SPDX-License-Identifier: Apache-2.0
"""What an importer asks of a checkpoint, whatever its layout."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes, Floats
from golden_model.config import ModelShape
from golden_model.weights import TernaryMatrix
from host.errors import UserError
from host.importing.files import Tensors, shown

__all__ = ["MAX_CONTEXT", "Source", "absmean", "cut_context", "ternary_of"]

MAX_CONTEXT = 4096
"""Most rows that attention reads (`golden_model.attention.attend.MAX_ROWS`)."""
SMALLEST_MEAN = 1e-5
"""The least mean magnitude in the absmean quantiser that trained these checkpoints."""


@dataclass
class Source(ABC):
    """A checkpoint whose description is read and sound; tensors are read when asked for."""

    layout: str
    """Such as ``HF packed uint8``, for the report."""
    architecture: str
    shape: ModelShape
    tensors: Tensors
    notes: list[str] = field(default_factory=list)
    """What was decided or cut, a sentence each."""

    @abstractmethod
    def matrix(self, layer: int, part: str) -> TernaryMatrix:
        """Ternary matrix of a layer by the name of its projection."""

    @property
    @abstractmethod
    def sub_norms(self) -> bool:
        """Whether any layer has a norm ahead of Wo or Wdown."""

    @abstractmethod
    def gain(self, layer: int, norm: str) -> Floats:
        """RMSNorm gain of a layer by its name."""

    @abstractmethod
    def final_gain(self) -> Floats:
        """RMSNorm gain ahead of the LM head."""

    @abstractmethod
    def embedding(self) -> Iterator[NDArray[np.float32]]:
        """Rows [n, hidden] of the embedding, in order; may be asked for more than once."""

    def finish(self) -> None:
        """Refuse what no one asked for: the model would not be the one in the file."""
        if self.tensors.left:
            raise self.tensors.wrong(f"tensor {shown(min(self.tensors.left))} has no place in the "
                                     "packed model")


def cut_context(context: int, notes: list[str]) -> int:
    """`context`, or what attention can read, with a note."""
    if context > MAX_CONTEXT:
        notes.append(f"The context of {context} is cut to {MAX_CONTEXT}, the most rows that "
                     "attention reads.")
    return min(context, MAX_CONTEXT)


def absmean(weight: NDArray[np.float32]) -> tuple[Codes, float]:
    """Trits and scale of a master weight: ``round(W / mean|W|)``, clipped, ties to even.

    The mean is taken in float64 and rounded to float32; training sums float32, in an order of its
    own, so a weight within 1e-6 of a threshold may fall to the other side.
    """
    mean = max(float(np.mean(np.abs(weight), dtype=np.float64)), SMALLEST_MEAN)
    with np.errstate(all="ignore"):  # what overflows is refused as a scale
        inverse = np.float32(1) / np.float32(mean)
        trits = np.clip(np.rint(weight * inverse), -1, 1).astype(np.int8)
        return trits, float(np.float32(1) / inverse)


def ternary_of(tensors: Tensors, name: str, trits: Codes, scale: float) -> TernaryMatrix:
    """Matrix with a float32 scale; the scale has to be positive and normal."""
    with np.errstate(over="ignore"):
        alpha = tensors.positive(name, float(np.float32(scale)))
    try:
        return TernaryMatrix(trits=trits, scale=alpha)
    except ValueError as error:
        raise UserError(f"{tensors.place}: tensor {shown(name)}: {error}") from error
