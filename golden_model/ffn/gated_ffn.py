# SPDX-License-Identifier: Apache-2.0
"""Golden model of :mod:`hw.ffn.gated_ffn`: sums and their scale; its cycles are beside it."""

from typing import NamedTuple

import numpy as np

from golden_model.arrays import Codes, Floats, Ints
from golden_model.ffn.gate_up import gate_up
from golden_model.ffn_config import GatedFfnConfig
from golden_model.quant.rms_norm import FixedNorm
from golden_model.sparse.masked_linear import MaskedVector, masked_linear

__all__ = ["FfnResult", "FfnVector", "FfnWeights", "gated_ffn"]


class FfnWeights(NamedTuple):
    """One layer: trits and small-float scales of its matrices, the norm ahead of Wdown."""

    gate: Codes
    """Trits [n, K]."""
    up: Codes
    """Trits [n, K]."""
    down: Codes
    """Trits [M, n]."""
    scales: tuple[Floats, Floats, Floats]
    """Of gate, up, down."""
    norm: FixedNorm


class FfnVector(NamedTuple):
    """One vector and the layer that it goes through."""

    codes: Codes
    """Activations [K]."""
    scale: Floats
    weights: FfnWeights
    peak: int = 8
    """Largest magnitude of an activation in its format."""

    @property
    def gate(self) -> Ints:
        """Gates [n]."""
        return self.weights.gate.astype(np.int64) @ self.codes.astype(np.int64)


class FfnResult(NamedTuple):
    """What one vector gives."""

    rows: Ints
    """Up rows that are fetched."""
    product: MaskedVector
    """Products [n] on their way to Wdown."""
    sums: Ints
    """Sums [blocks, width], filled up with zeros."""
    scale: Floats


def gated_ffn(config: GatedFfnConfig, vector: FfnVector) -> FfnResult:
    """Compute one vector's block."""
    weights = vector.weights
    gates = vector.gate
    rows, words, scale = gate_up(config.gate_up, gates, weights.up, vector.codes, vector.scale,
                                 weights.scales[0], weights.scales[1],
                                 vector.peak * vector.codes.size)
    product = MaskedVector(words.ravel()[:gates.size], scale, weights.norm)
    return FfnResult(rows, product, *masked_linear(config.down, product, weights.down,
                                                   weights.scales[2]))
