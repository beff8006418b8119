# SPDX-License-Identifier: Apache-2.0
"""The layers of a token whose norms are part of the products: five launches a layer."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from golden_model.attention.attend import AttentionWidths
from golden_model.quant.activations import PEAK
from host.gpu.geometry import RowCut, fused_cut
from host.gpu.packing import depth_of
from host.gpu.runtime import Array, Kernel
from host.gpu.token.model import FORMATS, Norm, kept, levels_of
from host.gpu.token.norms import join_norm

if TYPE_CHECKING:
    from host.gpu.token.launches import Launches

__all__ = ["FusedLayers"]

SOURCES = Path(__file__).parent
CODES, WORDS, JOIN, GLU = range(4)
SUMS, GATES, ADD = range(3)
_ZERO = np.uint32(0)


@dataclass(frozen=True)
class _Cut:
    """How a product is cut, and how many partial results of each kind it leaves."""

    rows: int
    cut: RowCut

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.cut.span)

    @property
    def parts(self) -> int:
        return self.blocks * -(-self.cut.span // 32)


@dataclass(frozen=True)
class _Ahead:
    """What a product reads, besides its weights."""

    source: Array
    scale: Array
    norm: Norm
    parts: Array
    alpha: np.uint32 = _ZERO
    beta: np.uint32 = _ZERO


@dataclass(frozen=True)
class _Behind:
    """What becomes of its sums, where they join the residual stream."""

    alpha: np.uint32
    norm: Norm
    parts: Array


@dataclass(frozen=True)
class _Product:
    """One kind of product, ready to launch."""

    owner: "FusedLayers"
    kernel: Kernel
    cut: _Cut
    levels: np.uint32

    def __call__(self, words: Array, ahead: _Ahead, behind: _Behind, sums: Array) -> None:
        owner, launches, norm = self.owner, self.owner.owner, ahead.norm
        self.kernel(self.cut.blocks, self.cut.cut.threads + 32, words, ahead.source, ahead.scale,
                    ahead.alpha, ahead.beta, owner.peaks, ahead.parts, norm.gains, norm.scale,
                    norm.eps, self.levels, sums, launches.scales[0], owner.peaks, behind.alpha,
                    launches.residual, behind.norm.gains, behind.parts, dependent=True)


class FusedLayers:
    """Each block of a product computes norm and codes for itself; Wo and Wdown add to the stream.

    A launch leaves partial statistics, one of each warp of its rows, instead of a norm.
    """

    def __init__(self, owner: "Launches") -> None:
        self.owner = owner
        shape, numerics = owner.weights.shape, owner.weights.numerics
        act, hidden, device = numerics.act_format, shape.hidden, owner.device
        self._cuts = {name: _Cut(rows, fused_cut(rows, depth_of(columns))) for name, (rows, columns)
                      in {"qkv": (shape.q_dim + 2 * shape.kv_dim, hidden),
                          "wo": shape.projections["wo"], "gate_up": (2 * shape.ffn, hidden),
                          "down": shape.projections["down"]}.items()}
        wo, down = self._cuts["wo"], self._cuts["down"]
        self._after_wo = device.zeros(2 * wo.parts, np.uint64)
        self._after_down = device.zeros(2 * down.parts, np.uint64)
        self.peaks = device.zeros(-(-shape.ffn // self._cuts["gate_up"].cut.span), np.int32)
        stays = kept(shape, numerics)
        # Other kinds of top-K take all codes at once: a launch of their own.
        self.join = None
        if stays and (numerics.topk_key == "value" or stays["BLOCK"] < shape.q_dim):
            unused = device.zeros(1, np.uint32), device.zeros(1, np.int32)
            self.join = join_norm(owner, *unused, listed=False)
        mean = int(act == "int4")
        self._qkv = self._product("qkv", WORDS, SUMS, hidden, act, PARTS_IN=down.parts)
        self._gate_up = self._product("gate_up", WORDS, GATES, hidden, act, PARTS_IN=wo.parts)
        self._wo = self._product(
            "wo", CODES if self.join else JOIN, ADD, shape.q_dim, numerics.wo_format,
            HEADS=shape.heads, HEAD_DIM=shape.head_dim, KEEP=stays.get("KEEP", -1),
            JOIN_PLACES=AttentionWidths.of(shape, numerics).output_shift, NEXT_MEAN=mean,
            PARTS_OUT=wo.parts)
        self._down, self._last = (self._product(
            "down", GLU, ADD, shape.ffn, "int8", PEAKS=int(np.prod(self.peaks.shape)),
            BOUND_BITS=(PEAK[act] * hidden).bit_length(), NEXT_MEAN=after, PARTS_OUT=down.parts)
            for after in (mean, 0))
        self._begin = device.kernel(SOURCES / "begin.cu", "begin", {
            "ROWS": hidden, "SPAN": down.cut.span, "PARTS_OUT": down.parts, "NEXT_MEAN": mean,
            "FRACTION": owner.weights.residual_frac})
        depth = depth_of(hidden)
        self._warps = min(depth, 31)
        self._code = device.kernel(SOURCES / "code_words.cu", "code_words", {
            "N": hidden, "DEPTH": depth, "SPLIT": self._warps, "FORMAT": FORMATS["int8"],
            "PARTS_IN": down.parts, "FRACTION": owner.weights.residual_frac})

    def _product(self, name: str, source: int, sink: int, n: int, fmt: str,
                 **more: int) -> _Product:
        cut, owner = self._cuts[name], self.owner
        kernel = owner.device.kernel(SOURCES / "fused_product.cu", "fused_product", {
            "ROWS": cut.rows, "N": n, "DEPTH": depth_of(n), "PLANES": 2, **cut.cut.defines,
            "SOURCE": source, "SINK": sink, "FORMAT": FORMATS[fmt], "KEEP": -1, "HEADS": 1,
            "HEAD_DIM": 1, "JOIN_PLACES": 0, "BOUND_BITS": 0, "PEAKS": 1, "PARTS_IN": 1,
            "PARTS_OUT": 1, "NEXT_MEAN": 0, "FRACTION": owner.weights.residual_frac} | more)
        return _Product(self, kernel, cut, levels_of(fmt, n))

    @property
    def buffers(self) -> tuple[Array, ...]:
        """What is written ahead of being read."""
        return self._after_wo, self._after_down, self.peaks

    def launch(self) -> None:
        """Launch all layers."""
        owner, down = self.owner, self._cuts["down"].cut
        self._begin(self._cuts["down"].blocks, -(-down.span // 32) * 32, owner.embedding,
                    owner.embedding_scale, owner.tokens, owner.position, owner.residual,
                    owner.layers[0].norms["input_norm"].gains, self._after_down, dependent=True)
        for index in range(len(owner.layers)):
            for launch in self.stages().values():
                launch(index)

    def finish(self) -> None:
        """Launch what makes the LM head's codes."""
        owner, norm, hidden = self.owner, self.owner.final, self.owner.weights.shape.hidden
        self._code(1, 32 * self._warps + 32, owner.residual, self._after_down, norm.gains,
                   norm.scale, norm.eps, levels_of("int8", hidden), owner.codes[hidden],
                   owner.scales[0], dependent=True)

    def stages(self) -> dict[str, Callable[[int], None]]:
        """Return the launches of layer i, in order."""
        steps: dict[str, Callable[[int], None]] = {
            "qkv": self._first, "attention": self.owner.attention, "wo": self._second,
            "gate_up": self._third, "down": self._fourth}
        if self.join is None:
            return steps
        return {"qkv": self._first, "attention": self.owner.attention, "join_norm": self._joined,
                "wo": self._second, "gate_up": self._third, "down": self._fourth}

    def _first(self, index: int) -> None:
        owner, layer, shape = self.owner, self.owner.layers[index], self.owner.weights.shape
        norm = layer.norms["input_norm"]
        self._qkv(layer.words["qkv"],
                  _Ahead(owner.residual, owner.scales[1], norm, self._after_down),
                  _Behind(_ZERO, norm, self._after_wo),
                  owner.sums[shape.q_dim + 2 * shape.kv_dim])

    def _joined(self, index: int) -> None:
        owner = self.owner
        if self.join is not None:
            self.join(owner.outputs, owner.head_scales, _ZERO, _ZERO,
                      owner.layers[index].norms["attn_sub_norm"], owner.scales[1])

    def _second(self, index: int) -> None:
        owner, layer, shape = self.owner, self.owner.layers[index], self.owner.weights.shape
        source, scale = ((owner.outputs, owner.head_scales) if self.join is None else
                         (owner.codes[shape.q_dim], owner.scales[1]))
        self._wo(layer.words["wo"],
                 _Ahead(source, scale, layer.norms["attn_sub_norm"], self._after_down),
                 _Behind(layer.alphas["wo"], layer.norms["ffn_norm"], self._after_wo),
                 owner.sums[shape.hidden])

    def _third(self, index: int) -> None:
        owner, layer, shape = self.owner, self.owner.layers[index], self.owner.weights.shape
        norm = layer.norms["ffn_norm"]
        self._gate_up(layer.words["gate_up"],
                      _Ahead(owner.residual, owner.scales[1], norm, self._after_wo),
                      _Behind(_ZERO, norm, self._after_down), owner.sums[2 * shape.ffn])

    def _fourth(self, index: int) -> None:
        owner, layer, shape = self.owner, self.owner.layers[index], self.owner.weights.shape
        last = index == len(owner.layers) - 1
        behind = owner.final if last else owner.layers[index + 1].norms["input_norm"]
        (self._last if last else self._down)(
            layer.words["down"],
            _Ahead(owner.sums[2 * shape.ffn], owner.scales[0], layer.norms["ffn_sub_norm"],
                   self._after_wo, layer.alphas["gate"], layer.alphas["up"]),
            _Behind(layer.alphas["down"], behind, self._after_down), owner.sums[shape.hidden])
