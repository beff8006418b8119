# SPDX-License-Identifier: Apache-2.0
"""Trained weights to the packed model file (``docs/model-format.md``) and back into a decoder.

Loading gives the same module that was trained, with its trits and scales in place of latent
weights, so that its logits can be compared with those of the golden model.
"""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from golden_model.config import WORD_BITS, Numerics
from golden_model.weights import DecoderWeights, LayerWeights, TernaryMatrix
from host.model_file import load_model, save_model
from host.train.model import Block, Decoder, RMSNorm
from host.train.scheme import Scheme

__all__ = ["load_packed", "numerics_of", "residual_frac", "save_packed", "weights_of"]

HEADROOM = 4
NORMS = ("input_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm")


def residual_frac(peak: float) -> int:
    """Fraction bits of a 24-bit signed word that holds four times the magnitude `peak`."""
    return WORD_BITS - 1 - math.ceil(math.log2(HEADROOM * peak))


def numerics_of(scheme: Scheme) -> Numerics:
    """Translate a scheme into the golden model's switches."""
    return Numerics(act_format=scheme.activations,
                    wo_format="fp4" if scheme.activations == "fp4" else "int8",
                    topk_keep=scheme.keep.as_integer_ratio(), kv_bits=scheme.kv_bits,
                    bos_bits=scheme.bos_bits, q_bits=scheme.q_bits)


def weights_of(model: Decoder, scheme: Scheme, peak: float) -> DecoderWeights:
    """Quantise a trained decoder's weights.

    Parameters
    ----------
    model
        Trained decoder.
    scheme
        What it is to run with; needs the embedding in trits.
    peak
        Largest magnitude of the residual stream, see :func:`residual_frac`.

    Raises
    ------
    ValueError
        The scheme does not quantise the embedding.
    """
    if not scheme.trit_embedding:
        raise ValueError("only a model with its embedding in trits can be packed")
    codes, scale = model.quantized_embedding(scheme.embedding_range)
    return DecoderWeights(
        shape=model.shape, numerics=numerics_of(scheme), residual_frac=residual_frac(peak),
        embedding=_codes(codes), embedding_scale=float(scale), final_gain=_gain(model.final_norm),
        layers=tuple(_layer(block) for block in model.blocks()))


def save_packed(path: Path, model: Decoder, scheme: Scheme, peak: float) -> DecoderWeights:
    """Write the packed model, atomically; what was written.  See :func:`weights_of`."""
    weights = weights_of(model, scheme, peak)
    save_model(path, weights)
    return weights


def _layer(block: Block) -> LayerWeights:
    matrices = {}
    for name in block.shape.projections:
        trits, alpha = block.projection(name).quantized()
        matrices[name] = TernaryMatrix(trits=_codes(trits), scale=float(alpha))
    return LayerWeights(matrices=matrices, gains={n: _gain(getattr(block, n)) for n in NORMS})


def _codes(codes: Tensor) -> NDArray[np.int8]:
    return codes.detach().cpu().numpy().astype(np.int8)


def _gain(norm: RMSNorm) -> NDArray[np.float64]:
    return norm.gain.detach().cpu().numpy().astype(np.float64)


def load_packed(path: Path, dtype: torch.dtype = torch.float32) -> tuple[Decoder, Scheme]:
    """Load a decoder for inference in `dtype`, and the scheme to call it with."""
    weights = load_model(path)
    numerics = weights.numerics
    kept, of = numerics.topk_keep
    scheme = Scheme(activations=numerics.act_format, keep=kept / of, trit_embedding=True,
                    kv_bits=numerics.kv_bits, bos_bits=numerics.bos_bits, q_bits=numerics.q_bits)
    model = Decoder(weights.shape).to(dtype)

    def scalar(value: float) -> Tensor:
        return torch.tensor(value, dtype=dtype)

    for block, layer in zip(model.blocks(), weights.layers, strict=True):
        for name, matrix in layer.matrices.items():
            block.projection(name).freeze(torch.from_numpy(matrix.trits), scalar(matrix.scale))
        for name, gain in layer.gains.items():
            getattr(block, name).gain.data = torch.from_numpy(gain).to(dtype)
    model.final_norm.gain.data = torch.from_numpy(weights.final_gain).to(dtype)
    model.freeze_embedding(torch.from_numpy(weights.embedding), scalar(weights.embedding_scale))
    return model.eval().requires_grad_(False), scheme
