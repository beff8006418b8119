# SPDX-License-Identifier: Apache-2.0
"""The decoder in integers: what the hardware computes, bit for bit (``docs/numerics.md``).

A tensor is integers and one small float (:mod:`golden_model.smallfloat`) a token, or a token and
head.  Every reduction is over integers, so neither batching nor the order of sums changes a bit.
"""

from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from golden_model import smallfloat
from golden_model.arrays import Codes, Floats, Ints
from golden_model.attention.attend import AttentionWidths, attend, visible
from golden_model.attention.rope import extra_bits, rope, rope_tables
from golden_model.config import WORD_BITS, Numerics
from golden_model.decoder import Capture, Decoder, LinearTrace
from golden_model.ffn.relu2_glu import check_widths, relu2_glu
from golden_model.formats import (
    KV_ZERO_BITS,
    THREE_TRITS_PEAK,
    decode_kv_scale,
    encode_kv_scale,
    saturate,
)
from golden_model.kv.row_code import (
    quantize_query,
    quantize_row,
    row_peak,
    row_steps,
    row_zeros,
)
from golden_model.linear import Linear
from golden_model.quant.activations import PEAK, quantize
from golden_model.quant.rms_norm import FixedNorm, fix_norm, rms_norm
from golden_model.sparse.top_k import top_k_mask
from golden_model.weights import DecoderWeights

__all__ = ["CacheState", "ExactDecoder"]


class CacheState(NamedTuple):
    """What a decoder has read so far: all that its next logits depend on besides the model."""

    k: Ints
    """Steps of the cached keys [layers, B, G, positions, n]."""
    v: Ints
    k_scale: Floats
    """Their scales [layers, B, G, positions]."""
    v_scale: Floats


class _Layer:
    """Constants of one layer: matrices ready to multiply, small-float scales, norms."""

    def __init__(self, weights: DecoderWeights, index: int, numerics: Numerics,
                 linear: type[Linear]) -> None:
        layer = weights.layers[index]
        peaks = dict.fromkeys(layer.matrices, PEAK[numerics.act_format])
        peaks |= {"wo": PEAK[numerics.wo_format], "down": PEAK["int8"]}
        self.matrices = {part: linear(matrix.trits, 1, peaks[part])
                         for part, matrix in layer.matrices.items()}
        self.scales = {part: smallfloat.from_float(matrix.scale)
                       for part, matrix in layer.matrices.items()}
        self.norms = {name: fix_norm(gain, weights.shape.rms_eps)
                      for name, gain in layer.gains.items()}


class ExactDecoder(Decoder):
    """Integer decoder; see :class:`golden_model.decoder.Decoder` for its use.

    Logits are int64; times ``logit_scale``, a small float a token, they are real.  Matrix products
    run in float32 or float64 BLAS, whichever holds every sum exactly (:mod:`golden_model.linear`
    says why that gives integers); construction refuses shapes that fit neither.
    """

    linear: ClassVar[type[Linear]] = Linear
    """How matrices are multiplied; integers are the same whatever it is."""

    def __init__(self, weights: DecoderWeights, numerics: Numerics | None = None,
                 window: int | None = None) -> None:
        super().__init__(weights, numerics, window)
        shape, numerics = self.shape, self.numerics
        if numerics.kv_code == "minmax" and max(numerics.kv_bits, numerics.bos_bits) > KV_ZERO_BITS:
            raise ValueError("kv_code must be midrise or symmetric for integers of more than "
                             f"{KV_ZERO_BITS} bits, not minmax")
        self._up_peak = PEAK[numerics.act_format] * shape.hidden
        check_widths(self._up_peak)
        self._widths = AttentionWidths.of(shape, numerics)
        self._cos, self._sin = rope_tables(shape.context, shape.head_dim, shape.rope_theta)
        self._extra = extra_bits(numerics.act_format)
        self._embedding_scale = smallfloat.from_float(weights.embedding_scale)
        self._head = self.linear(weights.embedding, THREE_TRITS_PEAK, PEAK["int8"])
        self._final_norm = fix_norm(weights.final_gain, shape.rms_eps)
        self._layers = [_Layer(weights, i, numerics, self.linear) for i in range(shape.layers)]

    def _allocate(self, batch: int) -> None:
        shape = self.shape
        rows = (shape.layers, batch, shape.kv_heads, shape.context)
        self._k = np.zeros((*rows, shape.head_dim), self._widths.score_carrier)
        self._v = np.zeros((*rows, shape.head_dim), self._widths.output_carrier)
        self._k_scale, self._v_scale = np.zeros(rows), np.zeros(rows)

    def state(self) -> CacheState:
        """Copy the cache, up to the current position; ``ValueError`` if nothing was read yet."""
        if self.position == 0:
            raise ValueError("there is no state ahead of the first token")
        end = self.position
        return CacheState(self._k[..., :end, :].astype(np.int64),
                          self._v[..., :end, :].astype(np.int64),
                          self._k_scale[..., :end].copy(), self._v_scale[..., :end].copy())

    def restore(self, state: CacheState) -> None:
        """Go on from `state`, as if its tokens had just been read.

        Raises
        ------
        ValueError
            It is of another model's shape, too long, or holds what this model never caches.
        """
        shape, numerics = self.shape, self.numerics
        layers, batch, heads, end = state.k_scale.shape if state.k_scale.ndim == 4 else (0,) * 4
        rows = (shape.layers, batch, shape.kv_heads, end)
        if (layers, heads) != (shape.layers, shape.kv_heads) or not (
                0 < end <= shape.context and batch > 0):
            raise ValueError(f"a state of {shape.layers} layers, {shape.kv_heads} heads and 1 to "
                             f"{shape.context} positions is wanted, not {state.k_scale.shape}")
        if state.v_scale.shape != rows or any(
                x.shape != (*rows, shape.head_dim) for x in (state.k, state.v)):
            raise ValueError(f"keys and values must be {[*rows, shape.head_dim]}, not "
                             f"{list(state.k.shape)} and {list(state.v.shape)}")
        peak = row_peak(numerics.bos_bits, numerics.kv_code)
        if any(x.min() < -peak or x.max() > peak for x in (state.k, state.v)):
            raise ValueError(f"steps of keys and values must lie in {-peak}..{peak}")
        for scale in (state.k_scale, state.v_scale):
            sound = np.isfinite(scale).all() and (scale >= 0).all()
            if not sound or not np.array_equal(decode_kv_scale(encode_kv_scale(scale)), scale):
                raise ValueError("a scale of keys or values is not one that a cache holds")
        self.reset()
        self._allocate(batch)
        self._k[..., :end, :], self._v[..., :end, :] = state.k, state.v
        self._k_scale[..., :end], self._v_scale[..., :end] = state.k_scale, state.v_scale
        self.position, self._batch = end, batch

    def _store(self, i: int, x: Ints, scale: Floats) -> None:
        """Quantise keys and values [2, B, T, G, n] into a layer's cache, BOS at its own width."""
        numerics, start, end = self.numerics, self.position, self.position + x.shape[2]
        codes, scales = quantize_row(x, scale, numerics.kv_bits, numerics.kv_code)
        steps = row_steps(codes, numerics.kv_bits, numerics.kv_code,
                          row_zeros(x, numerics.kv_bits, numerics.kv_code))
        if start == 0:
            codes, first = quantize_row(x[:, :, 0], scale[:, :, 0], numerics.bos_bits,
                                        numerics.kv_code)
            steps[:, :, 0] = row_steps(codes, numerics.bos_bits, numerics.kv_code, row_zeros(
                x[:, :, 0], numerics.bos_bits, numerics.kv_code))
            scales[:, :, 0] = first
        self._k[i, :, :, start:end], self._v[i, :, :, start:end] = steps.swapaxes(2, 3)
        self._k_scale[i, :, :, start:end], self._v_scale[i, :, :, start:end] = scales.swapaxes(2, 3)

    def _forward(self, tokens: Ints, capture: Capture | None) -> NDArray[Any]:
        weights, frac = self.weights, self.weights.residual_frac
        x = smallfloat.scale_int(weights.embedding[tokens], self._embedding_scale, frac)
        for i, layer in enumerate(self._layers):
            mixed, mixed_scale = self._attention(i, layer, x, capture)   # [B, T, H * n], [B, T]
            codes, scale, y = self._norm(mixed, mixed_scale, layer.norms.get("attn_sub_norm"),
                                         self.numerics.wo_format)
            codes = codes * self._top_k(codes, y)
            sums, scale = _linear(f"layers.{i}.wo", layer, codes, scale, capture)
            x = self._add(x, sums, scale)                                # [B, T, hidden]

            codes, scale, _ = self._norm(x, self._residual_scale(x), layer.norms["ffn_norm"],
                                         self.numerics.act_format)
            gate, gate_scale = _linear(f"layers.{i}.gate", layer, codes, scale, capture)
            up, up_scale = _linear(f"layers.{i}.up", layer, codes, scale, capture)
            product, scale = relu2_glu(gate, up, gate_scale, up_scale, self._up_peak)
            codes, scale, _ = self._norm(product, scale, layer.norms.get("ffn_sub_norm"), "int8")
            sums, scale = _linear(f"layers.{i}.down", layer, codes, scale, capture)
            x = self._add(x, sums, scale)                                # [B, T, hidden]
        codes, scale, _ = self._norm(x, self._residual_scale(x), self._final_norm, "int8")
        logits = self._head(codes)                                       # [B, T, vocab]
        self.logit_scale = smallfloat.mul(scale, self._embedding_scale)
        if capture is not None:
            capture["head"] = LinearTrace(codes, logits, scale, self.logit_scale)
        return logits

    def _attention(self, i: int, layer: _Layer, x: Ints,
                   capture: Capture | None) -> tuple[Ints, Floats]:
        """Projections, RoPE, cache and attention: words [B, T, H * n] and their scale [B, T]."""
        shape, start, end = self.shape, self.position, self.position + x.shape[1]
        codes, scale, _ = self._norm(x, self._residual_scale(x), layer.norms["input_norm"],
                                     self.numerics.act_format)
        heads = (*x.shape[:2], -1, shape.head_dim)
        (q, q_scale), (k, k_scale), (v, v_scale) = (
            _linear(f"layers.{i}.{part}", layer, codes, scale, capture)
            for part in ("wq", "wk", "wv"))
        cos, sin = self._cos[start:end, None], self._sin[start:end, None]   # [T, 1, n / 2]
        both = rope(np.concatenate([q, k], axis=-1).reshape(heads), cos, sin, self._extra)
        q, k = np.split(both, [shape.heads], axis=2)                     # [B, T, H or G, n]
        q_scale, k_scale = smallfloat.shift(np.stack([q_scale, k_scale]), -self._extra)[..., None]
        queries, q_scale = quantize_query(q, q_scale, self.numerics.q_bits)  # [.., n], [B, T, H]
        self._store(i, np.stack([k, v.reshape(heads)]), np.stack([k_scale, v_scale[..., None]]))
        return attend(queries, q_scale, self._k[i, :, :, :end], self._k_scale[i, :, :, :end],
                      self._v[i, :, :, :end], self._v_scale[i, :, :, :end],
                      visible(start, x.shape[1], self.window), self._widths)

    def _norm(self, x: Ints, scale: Floats, norm: FixedNorm | None,
              fmt: str) -> tuple[Codes, Floats, Ints]:
        """Fused RMSNorm and quantiser: codes, their scale, and the gained words behind them.

        Without a norm the words are quantised as they are.
        """
        y, unit = (x, scale) if norm is None else rms_norm(x, scale, norm)
        return *quantize(y, unit, fmt), y

    def _top_k(self, codes: Codes, y: Ints) -> NDArray[np.bool_]:
        """Mask of the kept inputs of Wo."""
        numerics = self.numerics
        key = np.abs(y if numerics.topk_key == "value" else codes.astype(np.int64))
        return top_k_mask(key, numerics.topk_keep, numerics.topk_block)

    def _residual_scale(self, x: Ints) -> Floats:
        """Repeat the residual stream's fixed scale for each token."""
        return np.full(x.shape[:2], 2.0 ** -self.weights.residual_frac)

    def _add(self, x: Ints, sums: Ints, scale: Floats) -> Ints:
        """Residual addition, saturating."""
        addend = smallfloat.scale_int(sums, scale[..., None], self.weights.residual_frac)
        return saturate(x + addend, WORD_BITS)


def _linear(name: str, layer: _Layer, codes: Codes, scale: Floats,
            capture: Capture | None) -> tuple[Ints, Floats]:
    """Multiply codes [B, T, K]: sums [B, T, M] and their scale [B, T]."""
    part = name.rpartition(".")[2]
    sums, out_scale = layer.matrices[part](codes), smallfloat.mul(scale, layer.scales[part])
    if capture is not None:
        capture[name] = LinearTrace(codes, sums, scale, out_scale)
    return sums, out_scale
