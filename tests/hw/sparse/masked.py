# SPDX-License-Identifier: Apache-2.0
"""Vectors for the masked product, as its ports take them, and the product with its own unit."""

from typing import NamedTuple

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model import smallfloat
from golden_model.exact import ExactDecoder
from golden_model.formats import pack_2bit, pack_base3
from golden_model.quant.norm_quantiser import levels
from golden_model.quant.rms_norm import fix_norm
from golden_model.sparse.masked_linear import MaskedVector, masked_codes, masked_linear
from golden_model.sparse.sparse_product import blocks, column_beats
from golden_model.sparse.top_k import kept_count
from golden_model.sparse_config import MaskedLinearConfig
from hw.quant.code_encoder import Format
from hw.quant.small_float_unit import SmallFloatUnit
from hw.sparse.masked_linear import MaskedLinear
from tests.hw.quant.tokens import PEAK, UNIT, small

__all__ = ["Job", "MaskedLinearWithUnit", "captured", "patterns"]


class MaskedLinearWithUnit(wiring.Component):
    """The streams of a masked product whose small-float unit serves nothing else."""

    def __init__(self, config: MaskedLinearConfig):
        self.config = config
        self.inner = inner = MaskedLinear(config)
        super().__init__({
            **{name: In(getattr(inner, name).signature.flip())
               for name in ("i_command", "i", "i_weights")},
            **{name: Out(getattr(inner, name).signature)
               for name in ("o_request", "o", "o_scale")},
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.linear = inner = self.inner
        m.submodules.unit = unit = SmallFloatUnit(UNIT)
        wiring.connect(m, inner.o_unit_request, unit.i)
        wiring.connect(m, unit.o, inner.i_unit_response)
        for name in ("i_command", "i", "i_weights"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(inner, name))
        for name in ("o_request", "o", "o_scale"):
            wiring.connect(m, getattr(inner, name), wiring.flipped(getattr(self, name)))
        return m


class Job(NamedTuple):
    """One vector, its matrix [M, n], and what must come of them."""

    vector: MaskedVector
    weights: np.ndarray
    alpha: float = 1.0

    def command(self, config):
        vector, n = self.vector, self.vector.x.size
        keep, size = vector.keep or (1, 1), vector.block or n
        norm = vector.norm
        return {"n": n, "blocks": blocks(config.product, len(self.weights)),
                "top_k": vector.keep is not None, "keep": kept_count((n - 1) % size + 1, keep),
                **({"in_blocks": vector.block > 0, "block_keep": kept_count(vector.block, keep)}
                   if config.block_size else {}),
                "format": Format[vector.fmt.upper()], "norm": norm is not None,
                "levels": small(levels(vector.fmt, n)), "scale": small(vector.scale),
                "norm_scale": small(norm.scale if norm else 1.5),
                "eps": small(norm.eps if norm else 0.1), "alpha": small(self.alpha)}

    def words(self, config):
        """Beats of both passes; what lies past the end is noise, and so are gains without norm."""
        rng, n = np.random.default_rng(9), self.vector.x.size
        size = -(-n // config.lanes) * config.lanes
        x, gain = rng.integers(-PEAK, PEAK, size), rng.integers(-2047, 2048, size)
        x[:n] = self.vector.x
        if self.vector.norm is not None:
            gain[:n] = self.vector.norm.gain
        return 2 * [{"x": a, "gain": b} for a, b in zip(
            x.reshape(-1, config.lanes).tolist(), gain.reshape(-1, config.lanes).tolist())]

    def columns(self, config):
        """Kept channels, and the packed beats of the column of each."""
        pack = {"2bit": pack_2bit, "base3": pack_base3}[config.packing]
        kept = np.flatnonzero(masked_codes(self.vector)[0]).tolist()
        return kept, [[int.from_bytes(pack(beat).tobytes(), "little") for beat in
                       column_beats(config.product, self.weights[:, index])] for index in kept]

    def results(self, config):
        """Beats of sums with their `last`, and the scale."""
        sums, scale = masked_linear(config, self.vector, self.weights, np.float64(self.alpha))
        rows = sums.tolist()
        return [(row, int(n == len(rows) - 1)) for n, row in enumerate(rows)], small(scale)


def patterns(config, seed):
    """Yield vectors of every shape of zeros, with and without norm and selection.

    Their columns are short, or long enough to hold the words up.
    """
    rng = np.random.default_rng(seed)
    n, width = config.max_n, config.width
    index = np.arange(n)
    masks = [index >= 0, rng.random(n) < 0.3, index % 2 == 0, index < 0, index == n - 1,
             index < n // 3, rng.random(n) < 0.05]
    for number, mask in enumerate(masks):
        size = n if number != 2 else 1 + n // 2
        x = np.clip(np.rint(rng.normal(0, 1 << 14, n)), -PEAK, PEAK - 1).astype(np.int64) * mask
        norm = fix_norm(rng.normal(1, 0.4, size), 1e-5) if number % 3 else None
        for turn, keep in enumerate([None, (1, 2), (3, 7)]):
            height = [config.max_m, width, 2 * width - 1][(number + turn) % 3]
            in_blocks = config.block_size if turn == 2 and number % 2 else 0
            yield Job(MaskedVector(x[:size], np.float64(2.0 ** -12), norm, keep, in_blocks,
                                   "fp4" if number == 5 else "int8"),
                      rng.integers(-1, 2, (height, size), dtype=np.int8),
                      float(smallfloat.from_float(0.01 * (number + 1))))
    # The largest code at every channel; a scale that saturates; one element.
    yield Job(MaskedVector(np.full(n, -PEAK), np.float64(smallfloat.LARGEST)),
              np.full((config.max_m, n), -1, np.int8), 3.0)
    for keep in (None, (1, 1), (0, 1)):
        yield Job(MaskedVector(np.array([-77]), np.float64(1.0), None, keep),
                  np.ones((width, 1), np.int8))


class _Recording(ExactDecoder):
    """Decoder that notes what its norms take."""

    def _norm(self, x, scale, norm, fmt):
        self.seen.append((x, scale, norm, fmt))
        return super()._norm(x, scale, norm, fmt)


def captured(weights, numerics, tokens):
    """Yield the last token's Wo and Wdown of each layer: the job, and the sums that came of it."""
    decoder, trace = _Recording(weights, numerics), {}
    decoder.seen = []
    decoder.forward(tokens, trace)
    for n, layer in enumerate(weights.layers):
        for name, place in (("wo", 4 * n + 1), ("down", 4 * n + 3)):
            x, scale, norm, fmt = decoder.seen[place]
            keep = decoder.numerics.topk_keep if name == "wo" else None
            block = decoder.numerics.topk_block if name == "wo" else 0
            matrix, got = layer.matrices[name], trace[f"layers.{n}.{name}"]
            yield (Job(MaskedVector(x[0, -1], scale[0, -1], norm, keep, block, fmt), matrix.trits,
                       float(smallfloat.from_float(matrix.scale))),
                   got.sums[-1], got.out_scale[-1])
