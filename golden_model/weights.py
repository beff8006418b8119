# SPDX-License-Identifier: Apache-2.0
"""A model as it comes out of a file: ternary matrices, float scales and gains, embedding codes."""

import math
from dataclasses import dataclass

import numpy as np

from golden_model.arrays import Codes, Floats
from golden_model.config import WORD_BITS, ModelShape, Numerics
from golden_model.formats import THREE_TRITS_PEAK

__all__ = ["SUB_NORMS", "DecoderWeights", "LayerWeights", "TernaryMatrix", "gain_widths",
           "random_weights"]

SUB_NORMS = ("attn_sub_norm", "ffn_sub_norm")
"""Norms ahead of Wo and Wdown: a model has both in each layer, or none at all."""


def gain_widths(shape: ModelShape, sub_norms: bool = True) -> dict[str, int]:
    """Length of each of a layer's gain vectors, with or without sub-norms."""
    widths = {"input_norm": shape.hidden, "attn_sub_norm": shape.q_dim, "ffn_norm": shape.hidden,
              "ffn_sub_norm": shape.ffn}
    return {norm: width for norm, width in widths.items() if sub_norms or norm not in SUB_NORMS}


def _check_codes(name: str, codes: Codes, peak: int) -> None:
    """Refuse arrays other than int8 matrices of codes -peak..peak."""
    if codes.dtype != np.int8 or codes.ndim != 2:
        raise ValueError(f"{name} must be an int8 matrix, not {codes.dtype}{list(codes.shape)}")
    if codes.size and (codes.min() < -peak or codes.max() > peak):
        wrong = codes[(codes < -peak) | (codes > peak)][0]
        raise ValueError(f"{name} must hold codes in {-peak}..{peak}, not {wrong}")


def _check_scale(name: str, scale: float) -> None:
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"{name} must be positive and finite, not {scale}")


def _check_gain(name: str, gain: Floats, length: int) -> None:
    if gain.shape != (length,):
        raise ValueError(f"{name} must have {length} elements, not {list(gain.shape)}")
    if not np.isfinite(gain).all():
        raise ValueError(f"{name} must be finite")


@dataclass(frozen=True, eq=False)
class TernaryMatrix:
    """Trits [M, K] and the scale alpha: output = integer sum x activation scale x alpha."""

    trits: Codes
    scale: float

    def __post_init__(self) -> None:
        _check_codes("trits", self.trits, 1)
        _check_scale("scale", self.scale)


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One layer: `matrices` by projection name, `gains` by norm name (`gain_widths`)."""

    matrices: dict[str, TernaryMatrix]
    gains: dict[str, Floats]


@dataclass(frozen=True, eq=False)
class DecoderWeights:
    """A whole decoder.

    Parameters
    ----------
    residual_frac
        Fraction bits of the exact model's 24-bit residual words.
    embedding
        Codes [vocab, hidden], -13..13; the LM head is tied to them.
    final_gain
        Gain [hidden] of the norm ahead of the LM head.

    Raises
    ------
    ValueError
        A tensor's name, shape, type or value does not fit; the message names it.
    """

    shape: ModelShape
    numerics: Numerics
    residual_frac: int
    embedding: Codes
    embedding_scale: float
    final_gain: Floats
    layers: tuple[LayerWeights, ...]

    def __post_init__(self) -> None:
        shape = self.shape
        if not 0 <= self.residual_frac < WORD_BITS:
            raise ValueError(f"residual_frac must lie in 0..{WORD_BITS - 1}, not "
                             f"{self.residual_frac}")
        _check_codes("embedding", self.embedding, THREE_TRITS_PEAK)
        if self.embedding.shape != (shape.vocab, shape.hidden):
            raise ValueError(f"embedding must be {[shape.vocab, shape.hidden]}, not "
                             f"{list(self.embedding.shape)}")
        _check_scale("embedding_scale", self.embedding_scale)
        _check_gain("final_gain", self.final_gain, shape.hidden)
        if len(self.layers) != shape.layers:
            raise ValueError(f"layers must number {shape.layers}, not {len(self.layers)}")
        for i, layer in enumerate(self.layers):
            self._check_layer(f"layers.{i}", layer)

    @property
    def sub_norms(self) -> bool:
        """Whether norms stand ahead of Wo and Wdown; no accelerator does without."""
        return any(norm in self.layers[0].gains for norm in SUB_NORMS)

    def _check_layer(self, name: str, layer: LayerWeights) -> None:
        widths = gain_widths(self.shape, self.sub_norms)
        for kind, found, wanted in (("matrices", layer.matrices, self.shape.projections),
                                    ("gains", layer.gains, widths)):
            if set(found) != set(wanted):
                raise ValueError(f"{name}.{kind} must be {', '.join(wanted)}, not "
                                 f"{', '.join(found)}")
        for part, size in self.shape.projections.items():
            if layer.matrices[part].trits.shape != size:
                raise ValueError(f"{name}.{part} must be {list(size)}, not "
                                 f"{list(layer.matrices[part].trits.shape)}")
        for part, length in widths.items():
            _check_gain(f"{name}.{part}", layer.gains[part], length)


def random_weights(shape: ModelShape, numerics: Numerics, seed: int,
                   sub_norms: bool = True) -> DecoderWeights:
    """Make an untrained model: a third of the trits zero, unit-sized outputs, gains around 1."""
    rng = np.random.default_rng(seed)

    def matrix(m: int, k: int) -> TernaryMatrix:
        trits = rng.integers(-1, 2, (m, k)).astype(np.int8)
        return TernaryMatrix(trits=trits, scale=float(np.float32(1 / math.sqrt(2 * k / 3))))

    def gain(n: int) -> Floats:
        return rng.uniform(0.5, 1.5, n).astype(np.float32).astype(np.float64)

    layers = tuple(
        LayerWeights(matrices={p: matrix(m, k) for p, (m, k) in shape.projections.items()},
                     gains={g: gain(n) for g, n in gain_widths(shape, sub_norms).items()})
        for _ in range(shape.layers))
    codes = np.clip(np.rint(rng.normal(0, 5, (shape.vocab, shape.hidden))), -13, 13)
    return DecoderWeights(shape=shape, numerics=numerics, residual_frac=16,
                          embedding=codes.astype(np.int8), embedding_scale=0.125,
                          final_gain=gain(shape.hidden), layers=layers)
