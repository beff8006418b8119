# SPDX-License-Identifier: Apache-2.0
"""What every backend offers, and how one says that it cannot go on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from golden_model.arrays import Ints
from golden_model.config import Numerics
from golden_model.weights import DecoderWeights
from host.backends.sampling import GREEDY, Sampling
from host.errors import TritforgeError

__all__ = ["Backend", "BackendError", "Limits", "Logits", "SavedState"]


class BackendError(TritforgeError):
    """A backend failed, or what it answers cannot be right; another may go on in its place."""


class Logits(NamedTuple):
    """Logits after the latest token: integers [vocab] and the real value of one unit."""

    values: Ints
    scale: float


@dataclass(frozen=True)
class SavedState:
    """What a backend has read so far, in its own form."""

    form: str
    """Backends that name the same form take each other's states."""
    position: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a backend holds; nothing stands for no limit."""

    window: int | None = None
    """Tokens in its KV cache, fixed when it was built."""
    columns: int | None = None
    """Longest vector that a matrix takes."""
    rows: int | None = None
    """Most rows of a matrix, the LM head's among them."""
    numerics: Numerics | None = None
    """The one set of formats that it was built for."""

    def misfit(self, weights: DecoderWeights, window: int, tokens: int) -> str | None:
        """Say why a model cannot run for so many tokens at that window, or nothing if it can."""
        shape = weights.shape
        columns = max(k for _, k in shape.projections.values())
        rows = max(shape.vocab, *(m for m, _ in shape.projections.values()))
        if self.columns is not None and columns > self.columns:
            return f"it takes vectors of {self.columns} elements, the model has {columns}"
        if self.rows is not None and rows > self.rows:
            return f"it takes matrices of {self.rows} rows, the model has {rows}"
        if self.numerics is not None and self.numerics != weights.numerics:
            built, wants = vars(self.numerics), vars(weights.numerics)
            name = next(name for name in built if built[name] != wants[name])
            return f"it was built for {name} = {built[name]}, the model has {wants[name]}"
        own = window if self.window is None else self.window
        if own != window and tokens > min(own, window):
            return f"its window is {own} tokens, not {window}, and {tokens} tokens go beyond it"
        return None


class Backend(ABC):
    """One sequence of tokens, read and continued.

    Every method may raise :class:`BackendError`; then only :meth:`close` and :meth:`load` are left.
    """

    name: str

    @property
    @abstractmethod
    def limits(self) -> Limits:
        """What it holds; known once it is loaded."""

    @abstractmethod
    def load(self, weights: DecoderWeights, window: int) -> None:
        """Make ready for a model; the sequence is empty afterwards."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the sequence."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Tokens read so far."""

    @abstractmethod
    def prefill(self, tokens: Sequence[int], sampling: Sampling = GREEDY) -> int:
        """Read tokens (one at least) and return the one that follows them, which is not read."""

    def decode(self, token: int, sampling: Sampling = GREEDY) -> int:
        """Read one token and return the one that follows it."""
        return self.prefill([token], sampling)

    @abstractmethod
    def logits(self) -> Logits | None:
        """Logits behind the latest token, or nothing if the backend does not show them."""

    @abstractmethod
    def save(self) -> SavedState:
        """Copy what was read so far."""

    @abstractmethod
    def restore(self, state: SavedState) -> None:
        """Go on from a state; `BackendError` if it is of another form or unsound."""

    @abstractmethod
    def counters(self) -> dict[str, int]:
        """Return counts by name; at least ``tokens``, those read since it was loaded."""

    @abstractmethod
    def close(self) -> None:
        """Let go of whatever is held."""
