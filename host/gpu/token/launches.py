# SPDX-License-Identifier: Apache-2.0
"""The launches of one token, in order, with the model and all that they work on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model import smallfloat
from golden_model.arrays import Floats
from golden_model.attention.attend import MAX_ROWS, AttentionWidths
from golden_model.attention.rope import extra_bits, rope_tables
from golden_model.attention.softmax import EXP2_TABLE
from golden_model.ffn.relu2_glu import check_widths
from golden_model.kv.row_code import query_levels
from golden_model.quant.activations import PEAK
from golden_model.quant.rms_norm import fix_norm
from golden_model.weights import DecoderWeights, LayerWeights
from host.gpu.runtime import Array, Device, Kernel, Offset
from host.gpu.token.cache import Cache, CacheLayout
from host.gpu.token.fused import FusedLayers
from host.gpu.token.listed import ListedLayers
from host.gpu.token.model import Layer, Norm, bits
from host.gpu.token.products import Products

__all__ = ["Launches", "misfit"]

SOURCES = Path(__file__).parent
MOST_HEAD_DIM, MOST_ELEMENTS, MOST_VALUES = 512, 1 << 15, 5120
MOST_RANKS = 8
"""Blocks of a cluster that every device of this kind takes."""
ATTEND_THREADS = 512
"""Threads of a block of attention."""
_CHOOSE_THREADS = 256


def misfit(weights: DecoderWeights, window: int) -> str | None:
    """Say in what a model is beyond the kernels, or nothing if it is not."""
    shape, numerics = weights.shape, weights.numerics
    if numerics.kv_code == "minmax" or 16 in (numerics.kv_bits, numerics.bos_bits):
        return "it takes midrise or symmetric KV codes of at most 8 bits"
    if not 2 <= window <= MAX_ROWS and shape.context > 1:
        return f"it takes windows of 2 to {MAX_ROWS} tokens, not {window}"
    if shape.head_dim > MOST_HEAD_DIM:
        return f"it takes heads of {MOST_HEAD_DIM} elements, the model has {shape.head_dim}"
    if not weights.sub_norms:
        return "it takes models with a norm ahead of Wo and Wdown; this one has none"
    longest = max(shape.hidden, shape.ffn, shape.q_dim)
    if longest > MOST_ELEMENTS:
        return f"it takes vectors of {MOST_ELEMENTS} elements, the model has {longest}"
    if numerics.topk_key == "value" and shape.q_dim > MOST_VALUES:
        return f"it takes top-K of {MOST_VALUES} values, the model has {shape.q_dim}"
    try:
        check_widths(PEAK[numerics.act_format] * shape.hidden)
    except ValueError as error:
        return str(error)
    return None


class Launches:
    """A model, its cache, all buffers, and the kernels of one token."""

    def __init__(self, device: Device, weights: DecoderWeights, window: int, products: Products,
                 sparse: bool) -> None:
        self.device, self.weights, self._sparse = device, weights, sparse
        shape, numerics = weights.shape, weights.numerics
        self.cache = Cache(device, CacheLayout.of(shape, numerics, window))
        self._buffers(products)
        self._latest: LayerWeights | None = None
        self._packed: dict[tuple[str, ...], NDArray[Any]] = {}
        self.layers = [self._layer(layer, products) for layer in weights.layers]
        self._packed.clear()
        self.final = self._norm_constants(weights.final_gain)
        self.embedding = device.array(weights.embedding)
        self._head_words = device.array(products.pack_levels(weights.embedding))
        self.embedding_scale = bits(smallfloat.from_float(weights.embedding_scale))
        cosines, sines = rope_tables(shape.context, shape.head_dim, shape.rope_theta)
        self._cosines = device.array(cosines.astype(np.int16))
        self._sines = device.array(sines.astype(np.int16))
        self._exp2 = device.array(EXP2_TABLE.astype(np.uint16))
        self._make_kernels(products)

    def _buffers(self, products: Products) -> None:
        shape, device = self.weights.shape, self.device
        self.tokens = device.zeros(shape.context + 1, np.int32)
        self.position = device.zeros(1, np.int32)
        self.given = device.zeros(1, np.int32)
        self.chosen = device.zeros(1, np.int32)
        self.logits = device.zeros((1, shape.vocab), np.int32)
        self.logit_scale = device.zeros(1, np.uint32)
        self._best = device.zeros(1, np.uint64)
        self._arrived = device.zeros(1, np.uint32)
        self.residual = device.zeros(shape.hidden, np.int32)
        self.outputs = device.zeros(shape.q_dim, np.int64)
        self.head_scales = device.zeros(shape.heads, np.uint32)
        # A launch never writes the scale that it reads.
        self.scales = [device.zeros(1, np.uint32) for _ in range(2)]
        self.codes = {n: device.zeros((1, products.pad(n)), np.int8)
                      for n in {shape.hidden, shape.q_dim, shape.ffn}}
        rows = {shape.q_dim + 2 * shape.kv_dim, shape.hidden, 2 * shape.ffn}
        self.sums = {n: device.zeros((1, n), np.int32) for n in rows}

    def _norm_constants(self, gain: Floats) -> Norm:
        norm = fix_norm(gain, self.weights.shape.rms_eps)
        return Norm(self.device.array(norm.gain.astype(np.int16)), bits(norm.scale),
                    bits(norm.eps))

    def _pack(self, pack: Callable[[Any], NDArray[Any]], layer: LayerWeights,
              *parts: str) -> Array:
        """Copy matrices to the GPU, one below the other."""
        if parts not in self._packed:
            self._packed[parts] = pack(np.concatenate([layer.matrices[p].trits for p in parts]))
        return self.device.array(self._packed[parts])

    def _layer(self, layer: LayerWeights, products: Products) -> Layer:
        if layer is not self._latest:  # a model may repeat one layer; that is packed once
            self._latest, self._packed = layer, {}
        last = products.pack_columns if self._sparse else products.pack_rows
        words = {"qkv": self._pack(products.pack_rows, layer, "wq", "wk", "wv"),
                 "gate_up": self._pack(products.pack_rows, layer, "gate", "up"),
                 "wo": self._pack(last, layer, "wo"), "down": self._pack(last, layer, "down")}
        return Layer(words, {part: bits(smallfloat.from_float(matrix.scale))
                             for part, matrix in layer.matrices.items()},
                     {name: self._norm_constants(gain) for name, gain in layer.gains.items()})

    def _make_kernels(self, products: Products) -> None:
        shape, numerics = self.weights.shape, self.weights.numerics
        self._attend = self._attend_kernel()
        self._score_scale = bits(AttentionWidths.of(shape, numerics).score_scale)
        self._blocks = min(self.device.info.multiprocessors, -(-shape.vocab // _CHOOSE_THREADS))
        end = {"VOCAB": shape.vocab, "THREADS": _CHOOSE_THREADS, "BLOCKS": self._blocks}
        self._choose = self.device.kernel(SOURCES / "finish.cu", "choose", end)
        self._pass_over = self.device.kernel(SOURCES / "finish.cu", "pass_over", end)
        self._head = products.levels(shape.vocab, shape.hidden)
        self.chain: FusedLayers | ListedLayers = (
            ListedLayers(self, products) if self._sparse else FusedLayers(self))

    def _attend_kernel(self) -> "_Attend":
        shape, numerics, layout = self.weights.shape, self.weights.numerics, self.cache.layout
        widths = AttentionWidths.of(shape, numerics)
        parts = 1 << (layout.spans - 1).bit_length()
        threads = max(ATTEND_THREADS, 32 * layout.spans + 96)
        threads = -(-threads // (32 * parts)) * 32 * parts
        ranks = 1
        while (ranks < MOST_RANKS and ranks * threads // parts < layout.slots
               and 2 * ranks * shape.heads <= self.device.info.multiprocessors):
            ranks *= 2
        return _Attend(self.device.kernel(SOURCES / "attention.cu", "attend", {
            "HEADS": shape.heads, "KV_HEADS": shape.kv_heads, "HEAD_DIM": shape.head_dim,
            "SLOTS": layout.slots, "KV_BITS": layout.bits, "BOS_BITS": layout.bos_bits,
            "MIDRISE": int(layout.code == "midrise"),
            "Q_BITS": (query_levels(numerics.q_bits) + 1).bit_length(),
            "C_BITS": widths.weight_bits, "EXTRA": extra_bits(numerics.act_format),
            "THREADS": threads, "RANKS": ranks, "RESIDENT": 1024 // threads}), threads, ranks)

    def token(self, *, head: bool = True) -> None:
        """Launch one token; without its head it only enters the cache."""
        self.chain.launch()
        if not head:
            self._pass_over(1, 32, self.position, dependent=True)
            return
        self.chain.finish()
        self._head(self._head_words, self.codes[self.weights.shape.hidden], self.logits)
        self._choose(self._blocks, _CHOOSE_THREADS, self.logits, self.scales[0],
                     self.embedding_scale, self._best, self._arrived, self.chosen,
                     self.logit_scale, self.tokens, self.position, self.given, dependent=True)

    def poison(self, byte: int) -> None:
        """Fill whatever a token has to write ahead of reading it, for tests; ends the sequence."""
        for each in (self.residual, self.outputs, self.head_scales, *self.scales,
                     *self.codes.values(), *self.sums.values(), *self.chain.buffers, self.logits,
                     self.logit_scale, self.chosen, self.tokens, *self.cache.arrays):
            each.fill(byte)

    def stages(self) -> dict[str, Callable[[int], None]]:
        """Each kind of launch by name, for layer i of a token, to be timed alone."""
        codes = self.codes[self.weights.shape.hidden]
        return self.chain.stages() | {
            "head": lambda i: self._head(self._head_words, codes, self.logits)}

    def attention(self, index: int) -> None:
        """Launch attention of one layer."""
        attend, shape, alphas = self._attend, self.weights.shape, self.layers[index].alphas
        sums, scale = self.sums[shape.q_dim + 2 * shape.kv_dim], self.scales[0]
        cache = [Offset(each, each.nbytes // shape.layers * index)
                 for each in self.cache.arrays]
        attend.kernel(attend.ranks * shape.heads, attend.threads, sums, scale,
                      alphas["wq"], alphas["wk"], alphas["wv"], self._score_scale, self._cosines,
                      self._sines, self._exp2, *cache, self.outputs, self.head_scales,
                      self.position, dependent=True, cluster=attend.ranks)


@dataclass(frozen=True)
class _Attend:
    """Attention, ready to launch."""

    kernel: Kernel
    threads: int
    ranks: int
