# SPDX-License-Identifier: Apache-2.0
"""The reference against a second, naive implementation: one token, head and element at a time."""

import math

import numpy as np
import pytest

from golden_model.config import ModelShape, Numerics
from golden_model.reference import ReferenceDecoder
from golden_model.weights import random_weights

SHAPE = ModelShape(vocab=19, hidden=12, ffn=20, layers=2, heads=4, kv_heads=2, head_dim=6,
                   context=16, rope_theta=500.0, rms_eps=1e-3)
TOKENS = [3, 18, 0, 7, 7, 2, 11, 5]


def rms_norm(x, gain):
    rms = math.sqrt(sum(v * v for v in x) / len(x) + SHAPE.rms_eps)
    return [v / rms * g for v, g in zip(x, gain, strict=True)]


def int4(x):
    beta = sum(map(abs, x)) / len(x)
    return ([max(-8, min(7, round(math.sqrt(7) * v / (beta + 1e-5)))) for v in x],
            beta / math.sqrt(7))


def int8(x):
    gamma = max(map(abs, x))
    return [max(-128, min(127, round(127 * v / (gamma + 1e-5)))) for v in x], gamma / 127


def top_half(codes, by):
    """Equation 1's mask; which of equal codes stay is what ``topk_key`` decides."""
    kept = sorted(range(len(by)), key=lambda i: (-abs(by[i]), i))[:len(by) // 2]
    return [v if i in kept else 0 for i, v in enumerate(codes)]


def rotate(x, position):
    """Turn each pair (i, i + n / 2) as a complex number."""
    half = len(x) // 2
    turned = [complex(x[i], x[i + half])
              * complex(math.cos(a), math.sin(a)) for i in range(half)
              for a in [position * SHAPE.rope_theta ** (-2 * i / len(x))]]
    return [z.real for z in turned] + [z.imag for z in turned]


def midrise(x, bits):
    top, levels = max(map(abs, x)), 2 ** bits - 1
    return [top * (2 * round((v / (top + 1e-5) + 1) / 2 * levels) - levels) / levels for v in x]


def symmetric(x, bits):
    top, levels = max(map(abs, x)), 2 ** (bits - 1) - 1
    return [top * round(v / (top + 1e-5) * levels) / levels for v in x]


def sub_norm(x, layer, name):
    return rms_norm(x, layer.gains[name]) if name in layer.gains else x


class Naive:
    """Logits of one token after another."""

    def __init__(self, weights, quant, topk_key="code"):
        self.weights, self.quant, self.rows = weights, quant, [[] for _ in weights.layers]
        self.topk_key = topk_key

    def product(self, layer, part, quantised):
        codes, scale = quantised
        matrix = layer.matrices[part]
        # One factor: ties of the KV codes then fall where they fall in the reference.
        return [sum(int(t) * v for t, v in zip(row, codes, strict=True)) * (scale * matrix.scale)
                for row in matrix.trits]

    def heads(self, x, position, turn=True):
        parts = [x[i:i + SHAPE.head_dim] for i in range(0, len(x), SHAPE.head_dim)]
        return [rotate(part, position) if turn else part for part in parts]

    def attention(self, layer, rows, x, position):
        a = self.quant(rms_norm(x, layer.gains["input_norm"]))
        bits = 4 if position == 0 else 3
        q = [symmetric(h, 8) for h in self.heads(self.product(layer, "wq", a), position)]
        k = [midrise(h, bits) for h in self.heads(self.product(layer, "wk", a), position)]
        v = [midrise(h, bits) for h in self.heads(self.product(layer, "wv", a), position, False)]
        rows.append((k, v))
        out = []
        for h, query in enumerate(q):
            kv = h * SHAPE.kv_heads // SHAPE.heads
            scores = [math.exp(np.dot(query, k[kv]) / math.sqrt(SHAPE.head_dim)) for k, _ in rows]
            out += [sum(s * v[kv][i] for s, (_, v) in zip(scores, rows, strict=True)) / sum(scores)
                    for i in range(SHAPE.head_dim)]
        normed = sub_norm(out, layer, "attn_sub_norm")
        codes, scale = int8(normed)
        by = normed if self.topk_key == "value" else codes
        return self.product(layer, "wo", (top_half(codes, by), scale))

    def ffn(self, layer, x):
        a = self.quant(rms_norm(x, layer.gains["ffn_norm"]))
        gate, up = self.product(layer, "gate", a), self.product(layer, "up", a)
        product = [max(g, 0) ** 2 * u for g, u in zip(gate, up, strict=True)]
        return self.product(layer, "down", int8(sub_norm(product, layer, "ffn_sub_norm")))

    def __call__(self, token, position):
        table = self.weights.embedding_scale * self.weights.embedding
        x = list(table[token])
        for layer, rows in zip(self.weights.layers, self.rows, strict=True):
            x = [a + b for a, b in zip(x, self.attention(layer, rows, x, position), strict=True)]
            x = [a + b for a, b in zip(x, self.ffn(layer, x), strict=True)]
        codes, scale = int8(rms_norm(x, self.weights.final_gain))
        return [float(np.dot(row, codes)) * scale for row in table]


@pytest.mark.parametrize(("act_format", "quant"), [("int4", int4), ("int8", int8)])
@pytest.mark.parametrize("topk_key", ["code", "value"])
@pytest.mark.parametrize(("seed", "sub_norms"), [(1, True), (2, True), (3, False)])
def test_same_logits(act_format, quant, topk_key, seed, sub_norms):
    numerics = Numerics(act_format=act_format, topk_key=topk_key)
    weights = random_weights(SHAPE, numerics, seed, sub_norms)
    naive = Naive(weights, quant, topk_key)
    expected = [naive(token, position) for position, token in enumerate(TOKENS)]
    assert ReferenceDecoder(weights).forward(TOKENS) == pytest.approx(np.array(expected), abs=1e-9)


def test_another_model_is_noticed():
    """Negative control: INT8 inputs are not INT4 inputs."""
    weights = random_weights(SHAPE, Numerics(), 1)
    naive = Naive(weights, int8)
    expected = [naive(token, position) for position, token in enumerate(TOKENS)]
    assert ReferenceDecoder(weights).forward(TOKENS) != pytest.approx(np.array(expected), abs=0.01)
