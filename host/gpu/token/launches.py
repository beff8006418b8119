# SPDX-License-Identifier: Apache-2.0
"""The launches of one token, in order, with the model and all that they work on."""

import math
from collections.abc import Callable, Mapping
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
from golden_model.sparse.top_k import kept_count
from golden_model.weights import DecoderWeights, LayerWeights
from host.gpu.runtime import Array, Device, Kernel, Offset
from host.gpu.token.cache import Cache, CacheLayout
from host.gpu.token.products import Products

__all__ = ["Launches", "misfit"]

SOURCES = Path(__file__).parent
FORMATS = {"int4": 0, "int8": 1, "fp4": 2}
EMBED, ADD, JOIN, GLU = range(4)
MOST_HEAD_DIM, MOST_ELEMENTS, MOST_VALUES = 512, 1 << 15, 5120
MOST_RANKS = 8
"""Blocks of a cluster that every device of this kind takes."""
NORM_SHARE, NORM_THREADS, ATTEND_THREADS = 256, 512, 512
"""Least elements of a block, most threads; threads of a block of attention."""
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


def _bits(scale: Floats | float) -> np.uint32:
    """Return a small float as the word that a kernel takes."""
    return np.uint32(smallfloat.to_bits(np.asarray(scale)))


def _warps(threads: int) -> int:
    return -(-threads // 32) * 32


@dataclass(frozen=True)
class _Norm:
    """Constants of one norm in the GPU's memory."""

    gains: Array
    scale: np.uint32
    eps: np.uint32


@dataclass(frozen=True)
class _Layer:
    words: Mapping[str, Array]
    alphas: Mapping[str, np.uint32]
    norms: Mapping[str, _Norm]


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
        self._layers = [self._layer(layer, products) for layer in weights.layers]
        self._packed.clear()
        self._final = self._norm_constants(weights.final_gain)
        self._embedding = device.array(weights.embedding)
        self._head_words = device.array(products.pack_levels(weights.embedding))
        self._embedding_scale = _bits(smallfloat.from_float(weights.embedding_scale))
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
        self._residual = device.zeros(shape.hidden, np.int32)
        self._outputs = device.zeros(shape.q_dim, np.int64)
        self._head_scales = device.zeros(shape.heads, np.uint32)
        # A launch never writes the scale that it reads.
        self._scales = [device.zeros(1, np.uint32) for _ in range(2)]
        self._codes = {n: device.zeros((1, products.pad(n)), np.int8)
                       for n in {shape.hidden, shape.q_dim, shape.ffn}}
        widest = max(shape.q_dim, shape.ffn, shape.hidden)
        self._entries = device.zeros(widest, np.uint32)
        self._count = device.zeros(1, np.int32)
        rows = {shape.q_dim + 2 * shape.kv_dim, shape.hidden, 2 * shape.ffn}
        self._sums = {n: device.zeros((1, n), np.int32) for n in rows}

    def _norm_constants(self, gain: Floats) -> _Norm:
        norm = fix_norm(gain, self.weights.shape.rms_eps)
        return _Norm(self.device.array(norm.gain.astype(np.int16)), _bits(norm.scale),
                     _bits(norm.eps))

    def _pack(self, pack: Callable[[Any], NDArray[Any]], layer: LayerWeights,
              *parts: str) -> Array:
        """Copy matrices to the GPU, one below the other."""
        if parts not in self._packed:
            self._packed[parts] = pack(np.concatenate([layer.matrices[p].trits for p in parts]))
        return self.device.array(self._packed[parts])

    def _layer(self, layer: LayerWeights, products: Products) -> _Layer:
        if layer is not self._latest:  # a model may repeat one layer; that is packed once
            self._latest, self._packed = layer, {}
        last = products.pack_columns if self._sparse else products.pack_rows
        words = {"qkv": self._pack(products.pack_rows, layer, "wq", "wk", "wv"),
                 "gate_up": self._pack(products.pack_rows, layer, "gate", "up"),
                 "wo": self._pack(last, layer, "wo"), "down": self._pack(last, layer, "down")}
        return _Layer(words, {part: _bits(smallfloat.from_float(matrix.scale))
                              for part, matrix in layer.matrices.items()},
                      {name: self._norm_constants(gain) for name, gain in layer.gains.items()})

    def _make_kernels(self, products: Products) -> None:
        shape, numerics = self.weights.shape, self.weights.numerics
        act, wo = numerics.act_format, numerics.wo_format
        widths, layout = AttentionWidths.of(shape, numerics), self.cache.layout
        block = numerics.topk_block or shape.q_dim
        rest = shape.q_dim % block
        kept = {} if numerics.topk_keep[0] == numerics.topk_keep[1] else {
            "KEEP": kept_count(min(block, shape.q_dim), numerics.topk_keep), "BLOCK": block,
            "LAST": kept_count(rest, numerics.topk_keep)}
        bound = (PEAK[act] * shape.hidden).bit_length()
        self._embed = self._norm(shape.hidden, EMBED, act)
        self._add = self._norm(shape.hidden, ADD, act)
        self._finish = self._norm(shape.hidden, ADD, "int8")
        self._join = self._norm(shape.q_dim, JOIN, wo, HEADS=shape.heads,
                                HEAD_DIM=shape.head_dim, JOIN_PLACES=widths.output_shift,
                                BY_VALUE=int(numerics.topk_key == "value"),
                                LIST=int(self._sparse), **kept)
        self._glu = self._norm(shape.ffn, GLU, "int8", BOUND_BITS=bound, LIST=int(self._sparse))
        parts = 1 << (layout.spans - 1).bit_length()
        threads = max(ATTEND_THREADS, 32 * layout.spans + 96)
        threads = -(-threads // (32 * parts)) * 32 * parts
        ranks = 1
        while (ranks < MOST_RANKS and ranks * threads // parts < layout.slots
               and 2 * ranks * shape.heads <= self.device.info.multiprocessors):
            ranks *= 2
        self._attend = _Attend(self.device.kernel(SOURCES / "attention.cu", "attend", {
            "HEADS": shape.heads, "KV_HEADS": shape.kv_heads, "HEAD_DIM": shape.head_dim,
            "SLOTS": layout.slots, "KV_BITS": layout.bits, "BOS_BITS": layout.bos_bits,
            "MIDRISE": int(layout.code == "midrise"),
            "Q_BITS": (query_levels(numerics.q_bits) + 1).bit_length(),
            "C_BITS": widths.weight_bits, "EXTRA": extra_bits(act), "THREADS": threads,
            "RANKS": ranks}), threads, ranks)
        self._score_scale = _bits(widths.score_scale)
        self._blocks = min(self.device.info.multiprocessors, -(-shape.vocab // _CHOOSE_THREADS))
        end = {"VOCAB": shape.vocab, "THREADS": _CHOOSE_THREADS, "BLOCKS": self._blocks}
        self._choose = self.device.kernel(SOURCES / "finish.cu", "choose", end)
        self._pass_over = self.device.kernel(SOURCES / "finish.cu", "pass_over", end)
        self._qkv = products.rows(shape.q_dim + 2 * shape.kv_dim, shape.hidden)
        self._gate_up = products.rows(2 * shape.ffn, shape.hidden)
        self._head = products.levels(shape.vocab, shape.hidden)
        self._last: dict[str, Any] = {
            part: (products.columns if self._sparse else products.rows)(
                *shape.projections[part]) for part in ("wo", "down")}

    def _norm(self, n: int, source: int, fmt: str, **more: int) -> "_NormLaunch":
        ranks = min(MOST_RANKS, -(-n // NORM_SHARE))
        per = -(-n // (ranks * NORM_THREADS))
        defines = {"N": n, "SOURCE": source, "FORMAT": FORMATS[fmt], "RANKS": ranks,
                   "THREADS": _warps(-(-n // (ranks * per))),
                   "FRACTION": self.weights.residual_frac,
                   "KEEP": -1, "BLOCK": n, "LAST": 0, "BY_VALUE": 0, "LIST": 0, "HEADS": 1,
                   "HEAD_DIM": 1, "JOIN_PLACES": 0, "BOUND_BITS": 0} | more
        levels = math.sqrt(7) * n if fmt == "int4" else 127 if fmt == "int8" else 12
        return _NormLaunch(self, self.device.kernel(SOURCES / "norm.cu", "fused_norm", defines),
                           n, defines["THREADS"], ranks, _bits(smallfloat.constant(levels)))

    def token(self, *, head: bool = True) -> None:
        """Launch one token; without its head it only enters the cache."""
        shape, zero = self.weights.shape, np.uint32(0)
        wide, narrow = self._codes[shape.hidden], self._sums[shape.hidden]
        qkv = self._sums[shape.q_dim + 2 * shape.kv_dim]
        first, second = self._scales
        down_alpha = zero
        for index, layer in enumerate(self._layers):
            norms, alphas, words = layer.norms, layer.alphas, layer.words
            if index == 0:
                self._embed(self._embedding, second, self._embedding_scale, zero,
                            norms["input_norm"], first)
            else:
                self._add(narrow, second, down_alpha, zero, norms["input_norm"], first)
            self._qkv(words["qkv"], wide, qkv)
            self._attention(index, alphas, qkv, first)
            self._join(self._outputs, self._head_scales, zero, zero, norms["attn_sub_norm"],
                       second)
            self._multiply("wo", layer, shape.q_dim, narrow)
            self._add(narrow, second, alphas["wo"], zero, norms["ffn_norm"], first)
            self._gate_up(words["gate_up"], wide, self._sums[2 * shape.ffn])
            self._glu(self._sums[2 * shape.ffn], first, alphas["gate"], alphas["up"],
                      norms["ffn_sub_norm"], second)
            self._multiply("down", layer, shape.ffn, narrow)
            down_alpha = alphas["down"]
        if not head:
            self._pass_over(1, 32, self.position, dependent=True)
            return
        self._finish(narrow, second, down_alpha, zero, self._final, first)
        self._head(self._head_words, wide, self.logits)
        self._choose(self._blocks, _CHOOSE_THREADS, self.logits, first, self._embedding_scale,
                     self._best, self._arrived, self.chosen, self.logit_scale, self.tokens,
                     self.position, self.given, dependent=True)

    def poison(self, byte: int) -> None:
        """Fill whatever a token has to write ahead of reading it, for tests; ends the sequence."""
        for each in (self._residual, self._outputs, self._head_scales, *self._scales,
                     *self._codes.values(), *self._sums.values(), self._entries, self._count,
                     self.logits, self.logit_scale, self.chosen, self.tokens, *self.cache.arrays):
            each.fill(byte)

    def stages(self) -> dict[str, Callable[[int], None]]:
        """Each kind of launch by name, for layer i of a token, to be timed alone."""
        shape, zero = self.weights.shape, np.uint32(0)
        (first, second), layers = self._scales, self._layers
        wide, narrow = self._codes[shape.hidden], self._sums[shape.hidden]
        qkv, both = self._sums[shape.q_dim + 2 * shape.kv_dim], self._sums[2 * shape.ffn]
        return {
            "add_norm": lambda i: self._add(narrow, second, layers[i].alphas["wo"], zero,
                                            layers[i].norms["ffn_norm"], first),
            "qkv": lambda i: self._qkv(layers[i].words["qkv"], wide, qkv),
            "attention": lambda i: self._attention(i, layers[i].alphas, qkv, first),
            "join_norm": lambda i: self._join(self._outputs, self._head_scales, zero, zero,
                                              layers[i].norms["attn_sub_norm"], second),
            "wo": lambda i: self._multiply("wo", layers[i], shape.q_dim, narrow),
            "gate_up": lambda i: self._gate_up(layers[i].words["gate_up"], wide, both),
            "glu_norm": lambda i: self._glu(both, first, layers[i].alphas["gate"],
                                            layers[i].alphas["up"],
                                            layers[i].norms["ffn_sub_norm"], second),
            "down": lambda i: self._multiply("down", layers[i], shape.ffn, narrow),
            "head": lambda i: self._head(self._head_words, wide, self.logits)}

    def _multiply(self, part: str, layer: _Layer, columns: int, sums: Array) -> None:
        if self._sparse:
            self._last[part](layer.words[part], self._entries, self._count, sums)
        else:
            self._last[part](layer.words[part], self._codes[columns], sums)

    def _attention(self, index: int, alphas: Mapping[str, np.uint32], sums: Array,
                   scale: Array) -> None:
        attend = self._attend
        cache = [Offset(each, each.nbytes // self.weights.shape.layers * index)
                 for each in self.cache.arrays]
        attend.kernel(attend.ranks * self.weights.shape.heads, attend.threads, sums, scale,
                      alphas["wq"], alphas["wk"], alphas["wv"], self._score_scale, self._cosines,
                      self._sines, self._exp2, *cache, self._outputs, self._head_scales,
                      self.position, dependent=True, cluster=attend.ranks)


@dataclass(frozen=True)
class _Attend:
    """Attention, ready to launch."""

    kernel: Kernel
    threads: int
    ranks: int


@dataclass(frozen=True)
class _NormLaunch:
    """One kind of norm, ready to launch."""

    owner: Launches
    kernel: Kernel
    n: int
    threads: int
    ranks: int
    levels: np.uint32

    def __call__(self, source: Array, in_scale: Array, alpha: np.uint32, beta: np.uint32,
                 norm: _Norm, out_scale: Array) -> None:
        owner = self.owner
        self.kernel(self.ranks, self.threads, source, owner._residual, in_scale, alpha, beta,
                    norm.gains, norm.scale, norm.eps, self.levels, owner._codes[self.n], out_scale,
                    owner.tokens, owner.position, owner._entries, owner._count, dependent=True,
                    cluster=self.ranks)
