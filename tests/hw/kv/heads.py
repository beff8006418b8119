# SPDX-License-Identifier: Apache-2.0
"""Heads for the row quantiser, as its ports take them."""

from typing import NamedTuple
from unittest import mock

import numpy as np

from golden_model import exact, smallfloat
from golden_model.kv.row_code import encode_row_scale, quantize_query, row_levels, row_zeros
from golden_model.kv.row_quantiser import code_head
from hw.kv.row_quantiser import RowFormat
from tests.hw.quant.tokens import PEAK, small

__all__ = ["KINDS", "MINMAX", "Head", "captured", "corners", "near_ties", "random_heads", "ties"]

KINDS = [("query", 8), ("midrise", 3), ("symmetric", 3), ("query", 4), ("midrise", 4),
         ("symmetric", 4)]
"""What models have: queries of 8 and 4 bits, rows of 3 and, of the first token, 4."""

MINMAX = [("minmax", 3), ("query", 8), ("minmax", 4), ("minmax", 2), ("midrise", 3)]
"""Kinds of a unit that is built for min/max codes."""


class Head(NamedTuple):
    """One head's words and what is to be made of them."""

    x: np.ndarray
    fmt: str
    bits: int
    scale: float = 2.0 ** -16

    @property
    def command(self):
        return {"n": len(self.x), "format": RowFormat[self.fmt.upper()], "bits": self.bits,
                "scale": small(self.scale)}

    def words(self, config):
        """Beats; what lies past the end is noise."""
        padded = np.random.default_rng(9).integers(-PEAK, PEAK, -(-len(self.x) // config.lanes)
                                                   * config.lanes)
        padded[:len(self.x)] = self.x
        return padded.reshape(-1, config.lanes).tolist()

    def coded(self):
        """Codes, and the scale as the fields of its port."""
        codes, scale, kv = code_head(self.x, np.float64(self.scale), self.fmt, self.bits)
        return codes.tolist(), {"scale": small(scale), "kv": kv}


def random_heads(lengths, seed, kinds=KINDS):
    """Yield one head of each length, of every size of words, the kinds in turn."""
    rng = np.random.default_rng(seed)
    for number, n in enumerate(lengths):
        x = np.clip(np.rint(rng.normal(0, 2.0 ** rng.integers(1, 23), n)), -PEAK, PEAK - 1)
        scale = smallfloat.join(int(rng.integers(1 << 15, 1 << 16)), int(rng.integers(-50, 0)))
        yield Head(x.astype(np.int64), *kinds[number % len(kinds)], float(scale))


def corners(n, kinds=KINDS):
    """Yield zeros, the ends of the word's range and of the scale's, with every kind of code."""
    ramp = np.arange(n) - n // 2
    extreme = np.where(ramp % 2, PEAK - 1, -PEAK)
    for number, (fmt, bits) in enumerate(kinds):
        yield Head(np.zeros(n, np.int64), fmt, bits)
        yield Head(extreme, fmt, bits, float(smallfloat.LARGEST if number % 2
                                             else smallfloat.SMALLEST))
        yield Head(np.where(ramp == 0, -PEAK, ramp), fmt, bits, 0.0)
        yield Head(ramp, fmt, bits)
        yield Head(ramp + n, fmt, bits)
        yield Head(ramp - n, fmt, bits)
        yield Head(np.array([1, -1, 0][number % 3:]), fmt, bits, 2.0 ** -41)
        # What a peak's rounding to 16 bits carries into, either way.
        yield Head(np.array([0x1FFFF, -0x1FFFF, 0x10001, -3]), fmt, bits, 1.75)
        yield Head(np.array([-0x7FFF81, 0x7FFF7F, 0x400000]), fmt, bits, 3.25)


def ties(kinds=KINDS):
    """Yield heads whose peak is a multiple of their levels, so that many words are half-way."""
    for fmt, bits in kinds:
        levels = row_levels(bits, "symmetric" if fmt == "query" else fmt)
        unit = 512
        x = np.arange(-levels * 2, levels * 2 + 1)[:: levels // 15 | 1] * (unit // 2)
        for part in np.array_split(x, -(-x.size // 24)):
            if fmt == "minmax":  # zero points are half-way too
                yield Head(np.append(np.clip(part, -levels * unit // 2, levels * unit // 2), [
                    -levels * unit // 2, levels * unit // 2]), fmt, bits, 1.0)
            yield Head(np.append(part, levels * unit), fmt, bits, 1.0)


def near_ties(fmt, bits):
    """Return a head with codes that hang on the last bit of the ratio's mantissa, which is set."""
    levels = smallfloat.constant(row_levels(bits, "symmetric" if fmt == "query" else fmt))
    for top in range(PEAK - 1, 0, -1):
        ratio = smallfloat.div(levels, smallfloat.from_int(np.int64(top)))
        m, e = smallfloat.split(ratio)
        if m & 1:
            break
    x = np.random.default_rng(1).integers(-top, top, 1 << 18)
    added = levels if fmt == "midrise" else 0
    places = 2 if fmt == "midrise" else 1
    low = smallfloat.join(m - 1, e)
    close = np.rint((x * ratio + added) / places) != np.rint((x * low + added) / places)
    return Head(np.append(x[close][:20], top), fmt, bits)


def captured(weights, tokens):
    """Yield the last token's queries, keys and values of each layer with what became of them.

    Of each head the codes, and the scale as the fields of its port: of a key or value only the KV
    scale is known.
    """
    queries = []

    def noted(x, scale, bits):
        queries.append((x[0, -1], scale[0, -1], *(got[0, -1] for got in quantize_query(
            x, scale, bits))))
        return quantize_query(x, scale, bits)

    stored = []

    class Recording(exact.ExactDecoder):
        """Decoder that notes what goes into its cache."""

        def _store(self, i, x, scale):
            stored.append((x[:, 0, -1], scale[:, 0, -1]))
            super()._store(i, x, scale)

    decoder = Recording(weights)
    with mock.patch.object(exact, "quantize_query", noted):
        decoder.forward(tokens)
    numerics, last = decoder.numerics, len(tokens) - 1
    bits = numerics.kv_bits if last else numerics.bos_bits
    for layer, (x, scale, codes, exact_scale) in enumerate(queries):
        for n, words in enumerate(x):
            head = Head(words, "query", min(numerics.q_bits, 12), float(np.ravel(scale)[0]))
            yield head, codes[n].tolist(), {"scale": small(exact_scale[n])}
        for side, (steps, scales) in enumerate([(decoder._k, decoder._k_scale),
                                                (decoder._v, decoder._v_scale)]):
            words, unit = (part[side] for part in stored[layer])
            for n, row in enumerate(words):
                step = steps[layer, 0, n, last].astype(np.int64)
                code, zero = numerics.kv_code, row_zeros(row, bits, numerics.kv_code)
                u = {"midrise": step + (1 << bits) - 1 >> 1, "symmetric": step + (1 << bits - 1),
                     "minmax": step + zero}[code]
                yield (Head(row, code, bits, float(np.ravel(unit)[0])), u.tolist(),
                       {"kv": int(encode_row_scale(scales[layer, 0, n, last], zero, code))})
