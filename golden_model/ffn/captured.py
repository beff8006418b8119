# SPDX-License-Identifier: Apache-2.0
"""The gated feed-forward blocks of a running decoder: real vectors for tests and tables."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from golden_model import smallfloat
from golden_model.arrays import Codes
from golden_model.decoder import Capture, LinearTrace
from golden_model.exact import ExactDecoder
from golden_model.ffn.gated_ffn import FfnVector, FfnWeights
from golden_model.quant.activations import PEAK
from golden_model.quant.rms_norm import fix_norm
from golden_model.weights import DecoderWeights

__all__ = ["CapturedBlock", "captured_blocks", "ffn_weights"]


class CapturedBlock(NamedTuple):
    """One token in one layer."""

    layer: int
    token: int
    ffn: FfnVector
    wo: Codes
    """Codes [q_dim] ahead of Wo, masked."""
    down: LinearTrace
    """What the decoder itself made of the block."""


def ffn_weights(weights: DecoderWeights, index: int) -> FfnWeights:
    """Matrices, scales and norm of one layer's block."""
    layer = weights.layers[index]
    gate, up, down = (layer.matrices[part] for part in ("gate", "up", "down"))
    scales = tuple(smallfloat.from_float(matrix.scale) for matrix in (gate, up, down))
    return FfnWeights(gate.trits, up.trits, down.trits, (scales[0], scales[1], scales[2]),
                      fix_norm(layer.gains["ffn_sub_norm"], weights.shape.rms_eps))


def captured_blocks(weights: DecoderWeights, tokens: ArrayLike, count: int) -> list[CapturedBlock]:
    """Blocks of the last `count` of `tokens` [T] in all layers, token by token.

    The decoder starts with an empty cache ahead of the first token.
    """
    capture: Capture = {}
    ids = np.asarray(tokens)
    decoder = ExactDecoder(weights)
    decoder.forward(ids, capture)
    peak = PEAK[decoder.numerics.act_format]
    layers = [ffn_weights(weights, index) for index in range(weights.shape.layers)]
    blocks = []
    for token in range(ids.size - count, ids.size):
        for index, layer in enumerate(layers):
            gate, wo, down = (capture[f"layers.{index}.{part}"] for part in ("gate", "wo", "down"))
            vector = FfnVector(gate.codes[token].astype(np.int8), gate.in_scale[token], layer, peak)
            trace = LinearTrace(*(part[token] for part in down))
            blocks.append(CapturedBlock(index, token, vector, wo.codes[token], trace))
    return blocks
