# SPDX-License-Identifier: Apache-2.0
"""The join alone, and between attention and ports of a cache."""

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring

from golden_model.attention.attention import attention_cycles, score_scale_of
from golden_model.attention.scale_join import port_order
from golden_model.attention_config import AttentionConfig
from golden_model.config import ModelShape, Numerics
from hw.attention import scale_join as unit
from hw.attention.attention import Attention
from hw.attention.scale_join import ScaleJoin
from sim.simulator import run_cycles
from tests.hw.attention.tokens import (
    UNIT,
    WithUnits,
    query_payloads,
    random_token,
    row_payloads,
    small,
)

SHAPES = [(4, 2, 8, 8, 2), (6, 3, 12, 8, 1), (5, 5, 8, 4, 1)]
"""Heads, KV heads, head_dim, lanes, queries."""


def geometry(shape, window, **options):
    heads, kv_heads, head_dim, lanes, queries = shape
    model = ModelShape(vocab=2, hidden=2, ffn=2, layers=2, heads=heads, kv_heads=kv_heads,
                       head_dim=head_dim, context=window)
    return AttentionConfig.of(model, Numerics(), lanes=lanes, queries=queries, window=window,
                              form="dsp", **options)


class Joined(wiring.Component):
    """Attention with its units and the join; its reads and words are those of the cache."""

    def __init__(self, config):
        self.attention = WithUnits(Attention(config))
        self.join, self.config = unit.ScaleJoin(config), config
        members, join = self.attention.signature.members, self.join.signature.members
        super().__init__({
            **{name: members[name] for name in ("i_command", "i_query", "i_query_scale", "o",
                                                "o_scale")},
            **{name: join[name] for name in ("o_key_read", "o_value_read", "i_key", "i_value")}})

    def elaborate(self, platform):
        m = Module()
        m.submodules.attention, m.submodules.join = attention, join = self.attention, self.join
        for name in ("i_command", "i_query", "i_query_scale"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(attention, name))
        for name in ("o", "o_scale"):
            wiring.connect(m, getattr(attention, name), wiring.flipped(getattr(self, name)))
        for name in ("key", "value"):
            wiring.connect(m, getattr(attention, f"o_{name}_read"), getattr(join, f"i_{name}_read"))
            wiring.connect(m, getattr(join, f"o_{name}"), getattr(attention, f"i_{name}"))
            wiring.connect(m, getattr(join, f"o_{name}_read"),
                           wiring.flipped(getattr(self, f"o_{name}_read")))
            wiring.connect(m, wiring.flipped(getattr(self, f"i_{name}")),
                           getattr(join, f"i_{name}"))
        return m


def run(shape, rows, stall=0.0):
    """Return sums and scales of tokens, what they must be, and the cycles of the sums."""
    heads, kv_heads, head_dim, lanes, queries = shape
    config = geometry(shape, max(rows))
    rng, passes = np.random.default_rng(4), heads // queries
    shared = passes // kv_heads
    sources = {name: [] for name in ("i_command", "i_query", "i_query_scale", "i_key", "i_value")}
    sums, scales, keys, values = [], [], [], []
    for count in rows:
        token = random_token(rng, heads, kv_heads, head_dim, count)
        sources["i_command"].append({
            "passes": passes, "shared": shared, "slot": 0, "stream": 1,
            "beats": head_dim // config.beat, "words": -(-head_dim // lanes),
            "score_scale": small(score_scale_of(head_dim))})
        sources["i_query"] += query_payloads(config, token.q)
        sources["i_query_scale"] += small(token.q_scale)
        read = {True: 0, False: 0}
        for scale in port_order(passes, config.banks):
            kv = read[scale] // shared
            read[scale] += 1
            values.append((0, 1 + kv))
            sources["i_value"] += row_payloads(config, token.values[kv], token.value_scale[kv])
            if scale:
                keys.append((0, 1 + kv))
                sources["i_key"] += row_payloads(config, token.keys[kv], token.key_scale[kv])
        expected, scale = token.expected(config)
        sums += expected.reshape(-1, config.beat).tolist()
        scales += small(scale)
    got = run_cycles(Joined(config), sources, {
        "o": len(sums), "o_scale": len(scales), "o_key_read": len(keys),
        "o_value_read": len(values)}, stall=stall, rng=np.random.default_rng(9))
    assert [(p.slot, p.stream) for _, p in got["o_key_read"]] == keys
    assert [(p.slot, p.stream) for _, p in got["o_value_read"]] == values
    return ([list(p.sums) for _, p in got["o"]],
            [{"m": p.m, "e": p.e} for _, p in got["o_scale"]]), (sums, scales), [
        cycle for cycle, _ in got["o"]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_golden_model_in_value_and_cycle(shape):
    got, wanted, cycles = run(shape, [9])
    assert got == wanted
    stated = attention_cycles(geometry(shape, 9), UNIT, heads=shape[0], rows=9, head_dim=shape[2],
                              joined=True)
    assert cycles == stated.sums


@pytest.mark.slow
def test_matches_golden_model_under_stalls():
    got, wanted, _ = run(SHAPES[1], [1, 2, 6], 0.4)
    assert got == wanted


def test_the_order_of_reads_is_pinned():
    assert port_order(1, 3) == [True, False]
    assert port_order(2, 3) == [True, True, False, False]
    assert port_order(5, 3) == [True] * 3 + [False, True] * 2 + [False] * 3


@pytest.mark.parametrize(("geometry_of", "took"), [
    ((4, 2, 32, 32, 2), 635), ((4, 2, 32, 32, 1), 1067)])
def test_cycles_of_the_demo_are_pinned(geometry_of, took):
    config = geometry(geometry_of, 128)
    stated = attention_cycles(config, UNIT, heads=4, rows=128, head_dim=32, joined=True)
    assert stated.total == took


def test_another_order_of_reads_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "ScaleJoin", lambda config: ScaleJoin(
        geometry(SHAPES[2], 4, banks=2)))
    with pytest.raises(AssertionError):
        run(SHAPES[2], [4])


class Mixed(ScaleJoin):
    """Takes the keys' scales for the values'."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += self.o_key.p.value_scale.eq(self.i_key.p.scale)
        return m


def test_scales_of_keys_taken_for_those_of_values_are_noticed(monkeypatch):
    monkeypatch.setattr(unit, "ScaleJoin", Mixed)
    got, wanted, _ = run(SHAPES[0], [5])
    assert got != wanted
