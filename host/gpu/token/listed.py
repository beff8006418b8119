# SPDX-License-Identifier: Apache-2.0
"""The layers of a token where Wo and Wdown multiply by lists of what is not zero."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from golden_model.quant.activations import PEAK
from host.gpu.runtime import Array
from host.gpu.token.norms import ADD, EMBED, GLU, join_norm, norm_launch
from host.gpu.token.products import Products

if TYPE_CHECKING:
    from host.gpu.token.launches import Launches

__all__ = ["ListedLayers"]


class ListedLayers:
    """Nine launches a layer: each norm is one of its own, since it also makes the list."""

    def __init__(self, owner: "Launches", products: Products) -> None:
        self.owner = owner
        shape, act = owner.weights.shape, owner.weights.numerics.act_format
        self.entries = owner.device.zeros(max(shape.q_dim, shape.ffn, shape.hidden), np.uint32)
        self.count = owner.device.zeros(1, np.int32)
        lists = self.entries, self.count
        self._embed = norm_launch(owner, shape.hidden, EMBED, act, *lists)
        self._add = norm_launch(owner, shape.hidden, ADD, act, *lists)
        self._finish = norm_launch(owner, shape.hidden, ADD, "int8", *lists)
        self.join = join_norm(owner, *lists, listed=True)
        self._glu = norm_launch(owner, shape.ffn, GLU, "int8", *lists, LIST=1,
                                BOUND_BITS=(PEAK[act] * shape.hidden).bit_length())
        self._qkv = products.rows(shape.q_dim + 2 * shape.kv_dim, shape.hidden)
        self._gate_up = products.rows(2 * shape.ffn, shape.hidden)
        self._last = {part: products.columns(*shape.projections[part]) for part in ("wo", "down")}

    @property
    def buffers(self) -> tuple[Array, ...]:
        """What is written ahead of being read."""
        return self.entries, self.count

    def launch(self) -> None:
        """Launch all layers."""
        owner, zero = self.owner, np.uint32(0)
        for index, layer in enumerate(owner.layers):
            if index == 0:
                self._embed(owner.embedding, owner.scales[1], owner.embedding_scale, zero,
                            layer.norms["input_norm"], owner.scales[0])
            else:
                self._add(self._narrow, owner.scales[1], owner.layers[index - 1].alphas["down"],
                          zero, layer.norms["input_norm"], owner.scales[0])
            for launch in self.stages().values():
                launch(index)

    def finish(self) -> None:
        """Launch what makes the LM head's codes."""
        owner = self.owner
        self._finish(self._narrow, owner.scales[1], owner.layers[-1].alphas["down"], np.uint32(0),
                     owner.final, owner.scales[0])

    @property
    def _narrow(self) -> Array:
        return self.owner.sums[self.owner.weights.shape.hidden]

    def stages(self) -> dict[str, Callable[[int], None]]:
        """Return the launches of layer i behind its first norm, in order."""
        owner, shape, zero = self.owner, self.owner.weights.shape, np.uint32(0)
        (first, second), layers, narrow = owner.scales, owner.layers, self._narrow
        wide, both = owner.codes[shape.hidden], owner.sums[2 * shape.ffn]
        qkv = owner.sums[shape.q_dim + 2 * shape.kv_dim]
        return {
            "qkv": lambda i: self._qkv(layers[i].words["qkv"], wide, qkv),
            "attention": owner.attention,
            "join_norm": lambda i: self.join(owner.outputs, owner.head_scales, zero, zero,
                                             layers[i].norms["attn_sub_norm"], second),
            "wo": lambda i: self._last["wo"](layers[i].words["wo"], self.entries, self.count,
                                             narrow),
            "add_norm": lambda i: self._add(narrow, second, layers[i].alphas["wo"], zero,
                                            layers[i].norms["ffn_norm"], first),
            "gate_up": lambda i: self._gate_up(layers[i].words["gate_up"], wide, both),
            "glu_norm": lambda i: self._glu(both, first, layers[i].alphas["gate"],
                                            layers[i].alphas["up"],
                                            layers[i].norms["ffn_sub_norm"], second),
            "down": lambda i: self._last["down"](layers[i].words["down"], self.entries,
                                                 self.count, narrow)}
