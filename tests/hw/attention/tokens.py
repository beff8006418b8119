# SPDX-License-Identifier: Apache-2.0
"""Tokens for the attention units: codes, scales, payloads, and units around a component."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import Flow
from safetensors.numpy import load_file

from golden_model import exact, smallfloat
from golden_model.attention.attention import attention_heads, score_scale_of
from golden_model.attention.score import beats
from golden_model.formats import encode_kv_scale
from golden_model.kv.row_code import decode_row_scale
from golden_model.quick_float_config import QuickFloatConfig
from host.model_file import load_model
from hw.quant.quick_float_unit import QuickFloatUnit

UNIT = QuickFloatConfig(form="dsp")
DEMO = Path(__file__).parents[3] / "models" / "demo"
REAL_ATTEND = exact.attend


def small(values):
    """Payloads of small floats, a dictionary or nested lists of them."""
    m, e = smallfloat.split(np.asarray(values, np.float64))
    if m.ndim:
        return [small(value) for value in values]
    return {"m": int(m), "e": int(e)}


class Token(NamedTuple):
    """One token's heads: queries, cached rows as codes with KV scales, what must come of them."""

    q: np.ndarray
    q_scale: np.ndarray
    keys: np.ndarray
    key_scale: np.ndarray
    values: np.ndarray
    value_scale: np.ndarray

    def expected(self, config):
        """Compute sums [H, n] and scales [H]."""
        (keys, key_zero), (values, value_zero) = (
            decode_row_scale(scale, config.kv_code) for scale in (self.key_scale, self.value_scale))
        return attention_heads(config, self.q, self.q_scale, score_scale_of(self.q.shape[1]),
                               self.keys, keys, self.values, values, (key_zero, value_zero))


def random_token(rng, heads, kv_heads, head_dim, rows, *, spread=1.0, zero=0.05, bits=(3, 4)):
    """Random codes; `spread` sets how far scores lie apart, `zero` the share of zero scales."""
    def cached():
        codes = rng.integers(0, 1 << bits[0], (kv_heads, rows, head_dim))
        codes[:, 0] = rng.integers(0, 1 << bits[1], (kv_heads, head_dim))
        scale = rng.integers(38 << 10, 44 << 10, (kv_heads, rows))
        scale[rng.random(scale.shape) < zero] = 0
        return codes, scale

    q = rng.integers(-127, 128, (heads, head_dim))
    q_scale = smallfloat.from_float(rng.uniform(0.5, 2, heads) * 0.02 * spread)
    return Token(q, q_scale, *cached(), *cached())


def extreme_token(heads, kv_heads, head_dim, rows, *, kind):
    """Largest sums of one sign, rows that are all alike, or rows of zeros."""
    q = np.full((heads, head_dim), 127)
    codes = np.full((kv_heads, rows, head_dim), 7)
    codes[:, 0] = 15
    scale = np.full((kv_heads, rows), 40 << 10)
    if kind == "lowest":
        codes[:] = 0
    if kind == "zero":
        scale[:] = 0
    largest = np.full(scale.shape, 0xFFFF if kind == "highest" else 40 << 10)
    return Token(q, smallfloat.from_float(np.full(heads, 0.01)), codes, largest * (scale > 0),
                 codes.copy(), scale)


def row_payloads(config, codes, *scales):
    """Words of one pass's rows [T, n]; with scales those of keys, without those of values."""
    cut = beats(codes, config.lanes)
    names = ("scale", "value_scale")
    return [{"codes": word.tolist(), "bos": int(t == 0), "last_word": int(w == len(row) - 1),
             "last": int(t == len(cut) - 1),
             **{name: int(scale[t]) for name, scale in zip(names, scales)}}
            for t, row in enumerate(cut) for w, word in enumerate(row)]


def query_payloads(config, q):
    """Beats of query codes [H, n]."""
    return [beat.tolist() for head in beats(q, config.beat) for beat in head]


class WithUnits(wiring.Component):
    """A component whose requests go to a small-float unit each; some inputs may be constant."""

    def __init__(self, component, **constants):
        self.component, self.config, self.constants = component, component.config, constants
        super().__init__({name: member for name, member in component.signature.members.items()
                          if name not in ("o_request", "i_response", *constants)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.component = component = self.component
        for n, (request, response) in enumerate(zip(component.o_request, component.i_response)):
            m.submodules[f"unit_{n}"] = unit = QuickFloatUnit(UNIT)
            wiring.connect(m, request, unit.i)
            wiring.connect(m, unit.o, response)
        for name, value in self.constants.items():
            port = getattr(component, name)
            m.d.comb += port.eq(port.shape().const(value))
        for name, member in self.signature.members.items():
            inner, outer = getattr(component, name), getattr(self, name)
            if member.flow is Flow.In:
                wiring.connect(m, wiring.flipped(outer), inner)
            else:
                wiring.connect(m, inner, wiring.flipped(outer))
        return m


def captured_token(calls, numerics, number):
    """Take one token out of the arguments that the exact decoder called `attend` with."""
    q, q_scale, k, k_scale, v, v_scale, mask, _ = calls[number]
    at = q.shape[1] - 1
    seen = np.flatnonzero(mask[at])

    def rows(steps, scale):
        steps = steps[0][:, seen].astype(np.int64)
        top = np.full(len(seen), (1 << numerics.kv_bits) - 1)
        top[0] = (1 << numerics.bos_bits) - 1
        return (steps + top[:, None]) // 2, encode_kv_scale(scale[0][:, seen]).astype(np.int64)

    return Token(q[0, at], q_scale[0, at], *rows(k, k_scale), *rows(v, v_scale))


def demo_calls(count, window):
    """Run the shipped model over held-out text; return it and the calls of `attend`."""
    weights = load_model(DEMO / "model.safetensors")
    tokens = load_file(DEMO / "heldout.safetensors")["tokens"][:1, :count].astype(np.int64)
    calls = []

    def attend(*arguments):
        calls.append(arguments)
        return REAL_ATTEND(*arguments)

    decoder = exact.ExactDecoder(weights, window=window)
    exact.attend = attend
    try:
        decoder.forward(tokens)
    finally:
        exact.attend = REAL_ATTEND
    return weights, calls
