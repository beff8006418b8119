# SPDX-License-Identifier: Apache-2.0
"""Embedding of floats to three trits a weight, with what that costs."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes
from golden_model.formats import THREE_TRITS_PEAK
from host.errors import UserError

__all__ = ["EmbeddingError", "quantize_embedding"]

SAMPLE = 1 << 18
"""Elements on which scales are compared."""
SPANS = np.arange(1.5, 8.01, 0.125)
"""Scales that are tried: the outermost code stands for so many mean magnitudes."""

Rows = Callable[[], Iterator[NDArray[np.float32]]]


@dataclass(frozen=True)
class EmbeddingError:
    """Distance of the codes from the floats that they stand for."""

    scale: float
    exact: bool
    """Every float is a code times the scale."""
    sqnr_db: float
    """Infinite if exact."""
    largest: float
    """Largest difference, in units of the largest magnitude."""
    clipped: float
    """Share of the weights beyond the outermost code."""


def _codes(rows: NDArray[np.float32], scale: float) -> NDArray[np.float64]:
    ratio = np.rint(rows.astype(np.float64) / scale)
    return np.clip(ratio, -THREE_TRITS_PEAK, THREE_TRITS_PEAK)


def _sample(rows: Rows, total: int) -> tuple[NDArray[np.float32], float, float]:
    """Evenly spaced elements, and the mean and largest magnitude of all."""
    step, parts, mass, peak, seen = max(1, total // SAMPLE), [], 0.0, 0.0, 0
    for part in rows():
        flat = part.reshape(-1)
        parts.append(flat[-seen % step::step])
        mass += float(np.abs(flat).sum(dtype=np.float64))
        peak = max(peak, float(np.abs(flat).max()))
        seen += flat.size
    return np.concatenate(parts), mass / total, peak


def _best_scale(sample: NDArray[np.float32], mean: float, peak: float) -> float:
    """Scale with the least squared error; of equal ones the largest.

    The largest magnitude over each code is tried too, so that an embedding which already lies on a
    grid of three trits comes out as it went in.
    """
    tried = [peak / code for code in range(1, THREE_TRITS_PEAK + 1)]
    tried += [float(span) * mean / THREE_TRITS_PEAK for span in SPANS]
    best, least = tried[0], math.inf
    for candidate in tried:
        scale = float(np.float32(candidate))
        if scale < float(np.finfo(np.float32).tiny):
            continue
        error = float(np.square(_codes(sample, scale) * scale - sample).sum())
        if error < least:
            best, least = scale, error
    return best


def quantize_embedding(rows: Rows, shape: tuple[int, int], where: str) -> tuple[Codes,
                                                                               EmbeddingError]:
    """Codes [vocab, hidden] of -13..13, and their scale with the error.

    Parameters
    ----------
    rows
        Gives the floats from the start, some rows at a time, each time that it is called.
    where
        Begins the error.

    Raises
    ------
    UserError
        The embedding is all zeros.
    """
    total = shape[0] * shape[1]
    sample, mean, peak = _sample(rows, total)
    if peak < float(np.finfo(np.float32).tiny) * THREE_TRITS_PEAK:
        raise UserError(f"{where}: the embedding holds nothing but zeros")
    scale = _best_scale(sample, mean, peak)
    codes = np.empty(shape, np.int8)
    power = noise = largest = 0.0
    clipped = done = 0
    for part in rows():
        found = _codes(part, scale)
        difference = found * scale - part
        codes[done:done + len(part)] = found.astype(np.int8)
        power += float(np.square(part.astype(np.float64)).sum())
        noise += float(np.square(difference).sum())
        largest = max(largest, float(np.abs(difference).max()))
        clipped += int(np.count_nonzero(np.abs(part) > (THREE_TRITS_PEAK + 0.5) * scale))
        done += len(part)
    return codes, EmbeddingError(
        scale=scale, exact=noise == 0, largest=largest / peak, clipped=clipped / total,
        sqnr_db=math.inf if noise == 0 else 10 * math.log10(power / noise))
