# SPDX-License-Identifier: Apache-2.0
"""How busy the ternary array is on the layers of real models, from its cycle model."""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from golden_model.config import ArrayConfig
from golden_model.mac.ternary_array import array_cycles, command_for

__all__ = ["LAYERS", "Layer", "LayerRow", "layer_table", "sized_for"]


class Layer(NamedTuple):
    """One matrix of a model."""

    model: str
    name: str
    m: int
    k: int
    digits: int


class LayerRow(NamedTuple):
    """What the array makes of one layer."""

    model: str
    layer: str
    m: int
    k: int
    digits: int
    cycles: int
    """Multiplying cycles, tile padding included."""
    busy: float
    """Share of the cycles from the first weights to the last in which weights are multiplied, for
    layers back to back whose activations and weights are there."""
    mac_efficiency: float
    """Products of the matrix over rows x lanes in those cycles (each digit counts)."""
    alone: float
    """`busy` from command to last result, for a layer whose activations are loaded just before."""


def _llama(model: str, hidden: int, ffn: int, kv: int) -> Iterator[Layer]:
    """Layers of a decoder; the inputs of Wo and Wdown are INT8, two digits."""
    shapes = (("q", hidden, hidden, 1), ("k", kv, hidden, 1), ("v", kv, hidden, 1),
              ("o", hidden, hidden, 2), ("gate", ffn, hidden, 1), ("up", ffn, hidden, 1),
              ("down", hidden, ffn, 2))
    return (Layer(model, *shape) for shape in shapes)


LAYERS: Mapping[str, tuple[Layer, ...]] = MappingProxyType({
    "demo": tuple(_llama("demo", 128, 384, 64)),
    "700M": tuple(_llama("700M", 1536, 4096, 1536)),
    "1.3B": tuple(_llama("1.3B", 2048, 5460, 2048)),
    "3B": tuple(_llama("3B", 3200, 8640, 3200)),
    "7B": tuple(_llama("7B", 4096, 11008, 4096)),
    "2B4T": (Layer("2B4T", "qkv", 3840, 2560, 1), Layer("2B4T", "o", 2560, 2560, 2),
             Layer("2B4T", "gate", 6912, 2560, 1), Layer("2B4T", "up", 6912, 2560, 1),
             Layer("2B4T", "down", 2560, 6912, 2)),
})
"""Linear layers by model."""


def sized_for(config: ArrayConfig, layers: tuple[Layer, ...]) -> ArrayConfig:
    """Return `config` with memory, counters and accumulators that hold the longest of `layers`."""
    max_k = max(config.max_k, *(layer.k for layer in layers))
    tiles = -(-max_k // config.lanes)
    return dataclasses.replace(
        config, max_k=max_k, max_m=max(config.max_m, *(layer.m for layer in layers)),
        acc_bits=max(config.acc_bits, (128 * tiles * config.lanes).bit_length() + 1))


def layer_table(config: ArrayConfig, models: Mapping[str, tuple[Layer, ...]] = LAYERS,
                ) -> list[LayerRow]:
    """Cycles and shares of every layer on an array of `config`'s rows and lanes.

    Layers of two digits take one pass on arrays whose digits are too narrow for two.
    """
    rows = []
    for layers in models.values():
        sized = sized_for(config, layers)
        for layer in layers:
            digits = min(layer.digits, sized.max_digits)
            command = command_for(sized, layer.m, layer.k, digits)
            cycles = command.blocks * command.words
            commands = 3
            span = (array_cycles(sized, layer.m, layer.k, digits, commands)
                    - array_cycles(sized, layer.m, layer.k, digits)) // (commands - 1)
            products = layer.m * layer.k * digits
            rows.append(LayerRow(
                *layer[:4], digits, cycles, cycles / span,
                products / (cycles * sized.macs_per_cycle),
                cycles / array_cycles(sized, layer.m, layer.k, digits)))
    return rows
