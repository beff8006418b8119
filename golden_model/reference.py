# SPDX-License-Identifier: Apache-2.0
"""The decoder in float64: the equations of BitNet a4.8 (arXiv:2411.04965), nothing rounded between.

Quantisers give codes and a real scale, products of codes and trits are summed exactly, and all else
is real.  ``kv_bits``, ``bos_bits`` and ``q_bits`` of 16 leave keys, values and queries alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes, Floats, Ints
from golden_model.attention.attend import attend_float, visible
from golden_model.attention.rope import angles, rope_float
from golden_model.config import Numerics
from golden_model.decoder import Capture, Decoder, LinearTrace
from golden_model.ffn.relu2_glu import relu2_glu_float
from golden_model.kv.row_code import quantize_query_float, quantize_row_float
from golden_model.quant.activations import quantize_float
from golden_model.quant.rms_norm import rms_norm_float
from golden_model.sparse.top_k import top_k_mask
from golden_model.weights import DecoderWeights, TernaryMatrix

__all__ = ["ReferenceDecoder"]


class ReferenceDecoder(Decoder):
    """Float64 decoder; see :class:`golden_model.decoder.Decoder` for its use.

    Logits are real, so ``logit_scale`` is 1.
    """

    def __init__(self, weights: DecoderWeights, numerics: Numerics | None = None,
                 window: int | None = None) -> None:
        super().__init__(weights, numerics, window)
        shape = self.shape
        self._angles = angles(shape.context, shape.head_dim, shape.rope_theta)

    def _allocate(self, batch: int) -> None:
        shape = self.shape
        size = (shape.layers, 2, batch, shape.kv_heads, shape.context, shape.head_dim)
        self._cache = np.zeros(size)

    def _quantize_row(self, x: Floats) -> Floats:
        """Codes of keys or values [B, T, G, n], BOS at its own width."""
        numerics = self.numerics
        rows = quantize_row_float(x, numerics.kv_bits, numerics.kv_code)
        if self.position == 0:
            rows[:, 0] = quantize_row_float(x[:, 0], numerics.bos_bits, numerics.kv_code)
        return rows

    def _forward(self, tokens: Ints, capture: Capture | None) -> NDArray[Any]:
        shape, numerics, eps = self.shape, self.numerics, self.shape.rms_eps
        batch, count = tokens.shape
        end = self.position + count
        turn = self._angles[self.position:end, None]                     # [T, 1, n / 2]
        mask = visible(self.position, count, self.window)                # [T, S]
        table = self.weights.embedding * self.weights.embedding_scale    # [vocab, hidden]
        x = np.asarray(table[tokens], np.float64)                        # [B, T, hidden]
        for i, layer in enumerate(self.weights.layers):

            def linear(part: str, codes: Codes, scale: Floats, i: int = i,
                       matrices: dict[str, TernaryMatrix] = layer.matrices) -> Floats:
                return _linear(f"layers.{i}.{part}", codes, scale, matrices[part].trits,
                               matrices[part].scale, capture)

            normed = rms_norm_float(x, layer.gains["input_norm"], eps)   # [B, T, hidden]
            codes, scale = quantize_float(normed, numerics.act_format)   # [B, T, hidden], [B, T]
            q = linear("wq", codes, scale).reshape(batch, count, -1, shape.head_dim)
            k = linear("wk", codes, scale).reshape(batch, count, -1, shape.head_dim)
            v = linear("wv", codes, scale).reshape(batch, count, -1, shape.head_dim)
            q = quantize_query_float(rope_float(q, turn), numerics.q_bits)  # [B, T, H, n]
            k = self._quantize_row(rope_float(k, turn))                  # [B, T, G, n]
            v = self._quantize_row(v)                                    # [B, T, G, n]
            keys, values = self._cache[i]                                # [B, G, context, n]
            keys[:, :, self.position:end] = k.swapaxes(1, 2)
            values[:, :, self.position:end] = v.swapaxes(1, 2)
            mixed = attend_float(q, keys[:, :, :end], values[:, :, :end], mask)  # [B, T, H * n]
            normed = _sub_norm(mixed, layer.gains.get("attn_sub_norm"), eps)
            codes, scale = quantize_float(normed, numerics.wo_format)
            key = np.abs(normed if numerics.topk_key == "value" else codes.astype(np.float64))
            kept = top_k_mask(key, numerics.topk_keep, numerics.topk_block)
            x = x + linear("wo", codes * kept, scale)                    # [B, T, hidden]

            normed = rms_norm_float(x, layer.gains["ffn_norm"], eps)     # [B, T, hidden]
            codes, scale = quantize_float(normed, numerics.act_format)
            gate, up = linear("gate", codes, scale), linear("up", codes, scale)  # [B, T, ffn]
            normed = _sub_norm(relu2_glu_float(gate, up), layer.gains.get("ffn_sub_norm"), eps)
            codes, scale = quantize_float(normed, "int8")                # [B, T, ffn]
            x = x + linear("down", codes, scale)                         # [B, T, hidden]
        normed = rms_norm_float(x, self.weights.final_gain, eps)
        codes, scale = quantize_float(normed, "int8")
        self.logit_scale = np.ones((batch, count))
        return _linear("head", codes, scale, self.weights.embedding,
                       self.weights.embedding_scale, capture)            # [B, T, vocab]


def _sub_norm(x: Floats, gain: Floats | None, eps: float) -> Floats:
    """RMSNorm ahead of Wo or Wdown, of a model that has it."""
    return x if gain is None else rms_norm_float(x, gain, eps)


def _linear(name: str, codes: Codes, scale: Floats, matrix: Codes, alpha: float,
            capture: Capture | None) -> Floats:
    """Multiply codes [B, T, K] by an integer matrix [M, K]: outputs [B, T, M] (equation 6)."""
    sums = codes.astype(np.float64) @ matrix.T.astype(np.float64)
    if capture is not None:
        capture[name] = LinearTrace(codes, sums.astype(np.int64), scale, scale * alpha)
    return sums * (scale * alpha)[..., None]
