# SPDX-License-Identifier: Apache-2.0
"""Vectors for the gated feed-forward block, as its ports take them."""

import numpy as np

from golden_model.ffn.gated_ffn import FfnVector, FfnWeights, gated_ffn
from golden_model.mac.ternary_array import command_for, pack_weights
from golden_model.quant.norm_quantiser import levels
from golden_model.quant.rms_norm import fix_norm
from golden_model.sparse.masked_linear import masked_codes
from golden_model.sparse.row_gather import beats as row_beats
from golden_model.sparse.sparse_product import blocks, column_beats
from tests.hw.ffn.lockstep import packed, small

__all__ = ["FfnJob", "layer", "vectors"]


class FfnJob:
    """One vector with its layer: what goes in on each port, and what must come out."""

    def __init__(self, config, vector):
        self.vector = vector
        weights, codes = vector.weights, vector.codes
        n, k = weights.gate.shape
        self.result = result = gated_ffn(config, vector)
        command = command_for(config.array, n, k)
        norm = weights.norm
        self.command = {
            "gate": {"blocks": command.blocks, "tiles": command.tiles},
            "up": {"n": n, "blocks": -(-k // config.up_width),
                   "peak_bits": (vector.peak * k).bit_length(),
                   "constants": {"gate": small(weights.scales[0]), "up": small(weights.scales[1])}},
            "down": {"blocks": blocks(config.down.product, len(weights.down)),
                     "levels": small(levels("int8", n)), "norm_scale": small(norm.scale),
                     "eps": small(norm.eps), "alpha": small(weights.scales[2])}}
        rows = np.pad(codes, (0, -k % config.lanes)).reshape(-1, config.lanes)
        self.activations = [{"codes": row, "last": number == len(rows) - 1}
                            for number, row in enumerate(rows.tolist())]
        self.gate_weights = [int.from_bytes(beat.tobytes(), "little")
                             for beat in pack_weights(config.array, weights.gate)]
        packing = config.array.packing
        self.up_bursts = [[packed(packing, beat)
                           for beat in row_beats(config.gate_up.gather, weights.up[row])]
                          for row in result.rows]
        # What lies past the end does not matter.
        self.gains = np.pad(norm.gain, (0, -n % config.lanes), constant_values=-99).reshape(
            -1, config.lanes).tolist() * 2
        kept, _ = masked_codes(result.product)
        self.columns = np.flatnonzero(kept).tolist()
        self.down_bursts = [[packed(packing, beat)
                             for beat in column_beats(config.down.product, weights.down[:, column])]
                            for column in self.columns]
        self.sums = [(row, number == len(result.sums) - 1)
                     for number, row in enumerate(result.sums.tolist())]


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
