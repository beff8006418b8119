# SPDX-License-Identifier: Apache-2.0
"""Vectors for the masked product, as its ports take them, and the product with its own unit."""

from typing import NamedTuple

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model import smallfloat
from golden_model.config import WORD_BITS
from golden_model.exact import ExactDecoder
from golden_model.quant.norm_quantiser import levels
from golden_model.quant_config import SmallFloatUnitConfig
from golden_model.sparse.masked_linear import MaskedVector, masked_codes, masked_linear
from golden_model.sparse.masked_linear_cycles import MaskedLinearCycles
from golden_model.sparse.sparse_product import blocks, column_beats
from golden_model.sparse.top_k import kept_count
from golden_model.sparse_config import MaskedLinearConfig
from hw.quant.code_encoder import Format
from hw.quant.small_float_unit import SmallFloatUnit
from hw.sparse.masked_linear import MaskedLinear
from sim.packing import pack_trits, small

__all__ = ["MaskedJob", "MaskedLinearWithUnit", "Recording", "masked_cycles"]

_PEAK = 1 << WORD_BITS - 1
_FIELDS = {"i": "words", "o_request": "requests", "i_weights": "weights", "o": "sums"}
_NORMS = {"wo": "attn_sub_norm", "down": "ffn_sub_norm"}


class MaskedLinearWithUnit(wiring.Component):
    """The streams of a masked product whose small-float unit serves nothing else."""

    def __init__(self, config: MaskedLinearConfig):
        self.config = config
        self.inner = inner = MaskedLinear(config)
        super().__init__({
            **{name: In(getattr(inner, name).signature.flip())
               for name in ("i_command", "i", "i_weights")},
            **{name: Out(getattr(inner, name).signature)
               for name in ("o_request", "o_codes", "o", "o_scale")},
        })

    def elaborate(self, platform):
        """Join the unit, and every other port to the one outside."""
        m = Module()
        m.submodules.linear = inner = self.inner
        m.submodules.unit = unit = SmallFloatUnit(SmallFloatUnitConfig())
        wiring.connect(m, inner.o_unit_request, unit.i)
        wiring.connect(m, unit.o, inner.i_unit_response)
        for name in ("i_command", "i", "i_weights"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(inner, name))
        for name in ("o_request", "o_codes", "o", "o_scale"):
            wiring.connect(m, getattr(inner, name), wiring.flipped(getattr(self, name)))
        return m


class MaskedJob(NamedTuple):
    """One vector, its matrix [M, n], and what must come of them."""

    vector: MaskedVector
    weights: np.ndarray
    alpha: float = 1.0

    def command(self, config):
        """Payload of ``i_command``."""
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
        x, gain = rng.integers(-_PEAK, _PEAK, size), rng.integers(-2047, 2048, size)
        x[:n] = self.vector.x
        if self.vector.norm is not None:
            gain[:n] = self.vector.norm.gain
        return 2 * [{"x": a, "gain": b} for a, b in zip(
            x.reshape(-1, config.lanes).tolist(), gain.reshape(-1, config.lanes).tolist())]

    def columns(self, config):
        """Kept channels, and the packed beats of the column of each."""
        kept = np.flatnonzero(masked_codes(self.vector)[0]).tolist()
        return kept, [[pack_trits(config.packing, beat) for beat in
                       column_beats(config.product, self.weights[:, index])] for index in kept]

    def results(self, config):
        """Beats of sums with their `last`, and the scale."""
        sums, scale = masked_linear(config, self.vector, self.weights, np.float64(self.alpha))
        rows = sums.tolist()
        return [(row, int(n == len(rows) - 1)) for n, row in enumerate(rows)], small(scale)


def masked_cycles(config, jobs, latency):
    """Cycle of every transfer by stream, for each of consecutive jobs that nothing holds up."""
    model = MaskedLinearCycles(config, SmallFloatUnitConfig(), latency)
    found = []
    for job in jobs:
        part = model.run(job.vector, len(job.weights))
        found.append({name: getattr(part, field) for name, field in _FIELDS.items()}
                     | {"i_command": [part.command], "o_scale": [part.scale]})
    return found


class Recording(ExactDecoder):
    """Exact decoder that has run once, and knows what entered its norms and left its products.

    Parameters
    ----------
    tokens
        Token numbers [T], read from an empty cache on.
    """

    def __init__(self, weights, tokens, numerics=None):
        super().__init__(weights, numerics)
        self.capture = {}
        self._seen = {}
        self.forward(tokens, self.capture)

    def _norm(self, x, scale, norm, fmt):
        self._seen[id(norm)] = x, scale, norm, fmt
        return super()._norm(x, scale, norm, fmt)

    def job(self, layer, part, token):
        """Wo (``wo``) or Wdown (``down``) of one token in one layer."""
        x, scale, norm, fmt = self._seen[id(self._layers[layer].norms[_NORMS[part]])]
        selects = part == "wo"
        matrix = self.weights.layers[layer].matrices[part]
        return MaskedJob(
            MaskedVector(x[0, token], scale[0, token], norm,
                         self.numerics.topk_keep if selects else None,
                         self.numerics.topk_block if selects else 0, fmt),
            matrix.trits, float(smallfloat.from_float(matrix.scale)))
