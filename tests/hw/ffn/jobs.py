# SPDX-License-Identifier: Apache-2.0
"""Vectors for the gated feed-forward block: every share of active gates, every odd length."""

import numpy as np

from golden_model.ffn.gated_ffn import FfnVector, FfnWeights
from golden_model.quant.rms_norm import fix_norm

__all__ = ["layer", "vectors"]


def layer(n, k, m, seed):
    """Random layer."""
    rng = np.random.default_rng(seed)
    scales = tuple(np.ldexp(rng.integers(1 << 15, 1 << 16, 3).astype(float), -22))
    return FfnWeights(*(rng.integers(-1, 2, shape).astype(np.int8)
                        for shape in ((n, k), (n, k), (m, n))), scales,
                      fix_norm(rng.normal(1, 0.3, n), 1e-5))


def vectors(config, seed=1):
    """Ordinary, no gate above zero, all, one, and the largest; lengths of one, two and odd."""
    rng = np.random.default_rng(seed)
    n, k, m = config.max_ffn, config.array.max_k, config.down.max_m
    scale = np.ldexp(40_000.0, -18)

    def codes(count):
        return rng.integers(-8, 8, count).astype(np.int8)

    ordinary = layer(n, k, m, seed)
    signs = np.where(rng.random(k) < 0.5, -1, 1).astype(np.int8)
    every = ordinary._replace(gate=np.tile(signs, (n, 1)))
    one = ordinary._replace(gate=np.where(np.arange(n)[:, None] == n - 1, signs, -signs))
    yield FfnVector(codes(k), scale, ordinary)
    yield FfnVector(signs * 5, scale, every._replace(gate=-every.gate))
    yield FfnVector((signs * rng.integers(1, 8, k)).astype(np.int8), scale, every)
    yield FfnVector(signs, scale, one)
    yield FfnVector(np.full(k, -8, np.int8), scale,
                    ordinary._replace(gate=-np.ones((n, k), np.int8), up=np.ones((n, k), np.int8)))
    yield FfnVector(codes(1), scale, layer(1, 1, 1, seed + 1))
    yield FfnVector(codes(2), scale, layer(2, 2, 2, seed + 2))
    yield FfnVector(codes(k - 1), scale, layer(n - 1, k - 1, m - 1, seed + 3))
