# SPDX-License-Identifier: Apache-2.0
"""Sequences of tokens for attention with its cache, made up or a model's own."""

from typing import NamedTuple
from unittest import mock

import numpy as np

from golden_model import exact, smallfloat
from golden_model.attention.attention import score_scale_of
from golden_model.attention.cached_attention import CachedAttention as Golden
from golden_model.attention.cached_attention import Words, command_fields
from golden_model.cached_attention_config import CachedAttentionConfig
from golden_model.config import ModelShape, Numerics
from hw.kv.layouts import Operation
from tests.hw.attention.tokens import small

PEAK = 1 << 23


class Model(NamedTuple):
    """Layers, heads, KV heads and head_dim of a model; its window and slots; engines."""

    layers: int
    heads: int
    kv_heads: int
    n: int
    window: int
    slots: int
    lanes: int
    queries: int
    beat: int = 4
    form: str = "dsp"
    ports: str = "1r1w"
    grouped: bool = False
    abreast: int = 2
    digits: int = 3

    @property
    def shape(self):
        return ModelShape(vocab=2, hidden=2, ffn=2, layers=self.layers, heads=self.heads,
                          kv_heads=self.kv_heads, head_dim=self.n, context=16)

    def geometry(self, numerics):
        return CachedAttentionConfig.of(
            self.shape, numerics, lanes=self.lanes, queries=self.queries, window=self.window,
            slots=self.slots, beat=self.beat, form=self.form, ports=self.ports,
            grouped=self.grouped, abreast=self.abreast, digits=self.digits)

    @property
    def config(self):
        return self.geometry(Numerics())


class Sequence:
    """Commands in order, as (port, payload); words that go in; what must come out."""

    def __init__(self, model, numerics=None):
        self.numerics = numerics or Numerics()
        self.model, self.config = model, model.geometry(self.numerics)
        self.golden = Golden(self.config, model.shape, self.numerics)
        self.commands, self.words, self.wanted, self.scales = [], [], [], []

    def begin(self, slots=None):
        """Configure; open some slots."""
        model = self.model
        geometry = {"slots": model.slots, "streams": model.layers * model.kv_heads,
                    "words": -(-model.n // model.lanes), "window": model.window}
        self.commands.append(("i_control", {"op": Operation.CONFIGURE, **geometry}))
        self.golden.cache.configure(**geometry)
        for slot in range(model.slots) if slots is None else slots:
            self.commands.append(("i_control", {"op": Operation.CLEAR, "slot": slot}))
            self.golden.cache.clear(slot)
        return self

    def layer(self, slot, layer, q, k, v, repeats=1):
        """One token in one layer."""
        model, beat = self.model, self.config.beat
        stream = layer * model.kv_heads
        self.commands.append(("i_command", {
            **command_fields(self.config, model.heads, model.kv_heads, model.n), "slot": slot,
            "stream": stream, "query_bits": self.numerics.q_bits, "repeats": repeats,
            "score_scale": small(score_scale_of(model.n)), "query_scale": small(q.scale),
            "key_scale": small(k.scale), "value_scale": small(v.scale)}))
        parts = (k.x, v.x, q.x)
        if self.config.grouped:
            ahead = model.queries
            parts = [part for key, value, queries in zip(
                k.x, v.x, q.x.reshape(len(k.x), -1, model.n))
                for part in (queries[:ahead], key, value, queries[ahead:])]
        self.words += [row for part in parts for row in part.reshape(-1, beat).tolist()]
        words, scale = self.golden.token(slot, stream, q, k, v)
        self.wanted += words.reshape(-1, beat).tolist() * repeats
        self.scales.append(small(scale))
        return words, scale

    def advance(self, slot):
        self.commands.append(("i_control", {"op": Operation.ADVANCE, "slot": slot}))
        self.golden.cache.advance(slot)

    def tokens(self, rng, count, slots=None):
        """Random tokens of all slots, layer by layer in turn."""
        slots = range(self.model.slots) if slots is None else slots
        for number in range(count):
            for layer in range(self.model.layers):
                for slot in slots:
                    self.layer(slot, layer, *random_words(rng, self.model), 1 + number % 3)
            for slot in slots:
                self.advance(slot)
        return self


def random_words(rng, model):
    """Return queries, keys and values of one token, now and then of zeros or the largest words."""
    def part(heads):
        x = np.rint(rng.normal(0, 2.0 ** rng.integers(4, 22), (heads, model.n)))
        x = np.clip(x, -PEAK, PEAK - 1).astype(np.int64)
        kind = rng.integers(12)
        if kind < 2:
            x[rng.integers(heads)] = (0, PEAK - 1)[kind]
        real = np.abs(x).max() / rng.uniform(1, 3)
        return Words(x, smallfloat.from_float(1 / max(real, 1)))

    return part(model.heads), part(model.kv_heads), part(model.kv_heads)


def model_sequence(weights, tokens, layers, window, lanes, queries):
    """Read text with the exact decoder, and give the hardware some layers' words, token by token.

    Returns
    -------
    sequence
        What the golden model makes of it.
    outputs
        What the decoder did: (words, scale) of each token and layer.
    """
    stored, asked, outputs = [], [], []

    class Recording(exact.ExactDecoder):
        """Decoder that notes what goes into its cache."""

        def _store(self, i, x, scale):
            stored.append((x[:, 0, 0], scale[:, 0, 0, 0]))
            super()._store(i, x, scale)

    def quantize_query(x, scale, bits):
        asked.append(Words(x[0, 0], np.ravel(scale)[0]))
        return quantise(x, scale, bits)

    def attend(*arguments):
        outputs.append(tuple(part[0, 0] for part in compute(*arguments)))
        return compute(*arguments)

    quantise, compute = exact.quantize_query, exact.attend
    decoder = Recording(weights, window=window)
    with mock.patch.multiple(exact, quantize_query=quantize_query, attend=attend):
        for token in tokens:
            decoder.forward(np.array([[token]]))
    shape, depth = weights.shape, weights.shape.layers
    numbers = sorted(range(depth)[layer] for layer in layers)
    sequence = Sequence(Model(len(numbers), shape.heads, shape.kv_heads, shape.head_dim, window, 1,
                              lanes, queries), decoder.numerics).begin()
    kept = []
    for token in range(len(tokens)):
        for place, layer in enumerate(numbers):
            (k, v), scales = stored[token * depth + layer]
            sequence.layer(0, place, asked[token * depth + layer], Words(k, scales[0]),
                           Words(v, scales[1]))
            kept.append(outputs[token * depth + layer])
        sequence.advance(0)
    return sequence, kept
