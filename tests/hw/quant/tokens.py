# SPDX-License-Identifier: Apache-2.0
"""Tokens for the quantiser, as its ports take them, and the quantiser with a unit of its own."""

from typing import NamedTuple

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden_model import smallfloat
from golden_model.quant.code_encoder import encode
from golden_model.quant.norm_quantiser import levels
from golden_model.quant.rms_norm import FixedNorm, fix_norm
from golden_model.quant_config import NormQuantiserConfig, SmallFloatUnitConfig
from hw.quant.code_encoder import Format
from hw.quant.norm_quantiser import NormQuantiser
from hw.quant.small_float_unit import SmallFloatUnit

__all__ = [
    "PEAK",
    "UNIT",
    "QuantiserWithUnit",
    "Token",
    "beats",
    "command",
    "gaussian",
    "near_ties",
    "small",
]

UNIT = SmallFloatUnitConfig()
PEAK = 1 << 23


class Token(NamedTuple):
    x: np.ndarray
    fmt: str
    norm: FixedNorm | None = None
    scale: float = 2.0 ** -12


class QuantiserWithUnit(wiring.Component):
    """The streams of a quantiser whose small-float unit serves nothing else."""

    def __init__(self, config: NormQuantiserConfig):
        self.config = config
        inner = NormQuantiser(config)
        self.inner = inner
        super().__init__({
            **{name: In(getattr(inner, name).signature.flip()) for name in ("i_command", "i")},
            **{name: Out(getattr(inner, name).signature) for name in ("o", "o_scale")},
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.quantiser = inner = self.inner
        m.submodules.unit = unit = SmallFloatUnit(UNIT)
        wiring.connect(m, inner.o_request, unit.i)
        wiring.connect(m, unit.o, inner.i_response)
        for name in ("i_command", "i"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(inner, name))
        for name in ("o", "o_scale"):
            wiring.connect(m, getattr(inner, name), wiring.flipped(getattr(self, name)))
        return m


def small(value):
    """Small float as the fields of its layout."""
    m, e = smallfloat.split(np.asarray(value))
    return {"m": int(m), "e": int(e)}


def command(token):
    return {"n": len(token.x), "format": Format[token.fmt.upper()], "norm": token.norm is not None,
            "levels": small(levels(token.fmt, len(token.x))), "scale": small(token.scale),
            "norm_scale": small(token.norm.scale if token.norm else 1.5),
            "eps": small(token.norm.eps if token.norm else 0.1)}


def beats(config, token, seed=9):
    """Beats of one pass; what lies past the end is noise, and so are gains without a norm."""
    rng, n = np.random.default_rng(seed), len(token.x)
    size = -(-n // config.lanes) * config.lanes
    x, gain = rng.integers(-PEAK, PEAK, size), rng.integers(-2047, 2048, size)
    x[:n] = token.x
    if token.norm is not None:
        gain[:n] = token.norm.gain
    return [{"x": a, "gain": b} for a, b in zip(x.reshape(-1, config.lanes).tolist(),
                                                gain.reshape(-1, config.lanes).tolist())]


def gaussian(n, fmt, seed, size=1 << 14, norm=True):
    rng = np.random.default_rng(seed)
    x = np.clip(np.rint(rng.normal(0, size, n)), -PEAK, PEAK - 1).astype(np.int64)
    return Token(x, fmt, fix_norm(rng.normal(1, 0.4, n), 1e-5) if norm else None)


def near_ties(fmt):
    """Tokens with codes that hang on the last bit of the ratio's mantissa, which is set.

    Random tokens hardly have any: a code is that close to a tie once in ten thousand.
    """
    # The statistic is `top`: the first element alone, or the sum of a pair.
    pair, top = fmt == "int4", PEAK - 1
    while True:
        ratio = smallfloat.div(levels(fmt, 2), smallfloat.from_int(np.int64(top)))
        m, e = smallfloat.split(ratio)
        if m & 1:
            break
        top -= 1
    x = np.random.default_rng(1).integers(0, top, 1 << 16)
    x = x[encode(x * ratio, fmt) != encode(x * smallfloat.join(m - 1, e), fmt)][:6]
    if pair:
        return [Token(np.array([part, top - part]), fmt) for part in x]
    return [Token(np.array([top, *x]), fmt)]
