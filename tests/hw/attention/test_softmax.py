# SPDX-License-Identifier: Apache-2.0
"""Softmax with the scalar part beside it, which its ratios come from."""

import dataclasses

import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring

from golden_model import smallfloat
from golden_model.attention.attention import pass_weights
from golden_model.attention.head_scales import HeadScalesCycles, head_scale
from golden_model.attention.softmax_cycles import SoftmaxCycles
from golden_model.formats import decode_kv_scale
from golden_model.softmax_config import SoftmaxConfig
from hw.attention import softmax as unit
from hw.attention.head_scales import HeadScales
from hw.attention.softmax import Softmax
from hw.attention.value_weight import ValueWeight
from sim.simulator import run_cycles
from tests.hw.attention.tokens import UNIT, WithUnits, small
from tests.mutants import mutant

CONFIGS = [SoftmaxConfig(queries=2, max_rows=20, abreast=2, form="dsp"),
           SoftmaxConfig(max_rows=18, abreast=4, form="dsp"),
           SoftmaxConfig(max_rows=120, weight_bits=12, banks=4, form="dsp")]
ZEROS = dataclasses.replace(CONFIGS[0], zeros=True)


class WithScales(wiring.Component):
    def __init__(self, config, component):
        self.softmax, self.config = component(config), config
        self.scales = WithUnits(HeadScales(config), score_scale=small(1.0))
        super().__init__({"i": self.softmax.signature.members["i"],
                          "o": self.softmax.signature.members["o"],
                          "i_scale": self.scales.signature.members["i_scale"],
                          "o_scale": self.scales.signature.members["o_scale"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.softmax, m.submodules.scales = softmax, scales = self.softmax, self.scales
        wiring.connect(m, wiring.flipped(self.i), softmax.i)
        wiring.connect(m, wiring.flipped(self.i_scale), scales.i_scale)
        wiring.connect(m, softmax.o, wiring.flipped(self.o))
        wiring.connect(m, scales.o_scale, wiring.flipped(self.o_scale))
        wiring.connect(m, scales.o_unit, softmax.i_unit)
        wiring.connect(m, softmax.o_total, scales.i_total)
        wiring.connect(m, scales.o_ratio, softmax.i_ratio)
        return m


def passes(config, seed=0):
    """Scores, query scales and KV scales of passes; corners among them."""
    rng = np.random.default_rng(seed)
    heads, peak = config.queries, (1 << config.sum_bits - 1) - 1
    for number, rows in enumerate([1, 2, config.max_rows, 7, 13, 1, 1, 1, 5, config.max_rows]):
        sums = rng.integers(-peak - 1, peak + 1, (rows, heads))
        unit = smallfloat.from_float(rng.uniform(0.5, 2, heads) * 2.0 ** -rng.integers(4, 9))
        key = rng.integers(44 << 10, 48 << 10, rows)
        value = rng.integers(30 << 10, 46 << 10, rows)
        key[rng.random(rows) < 0.1] = 0
        value[rng.random(rows) < 0.2] = 0
        if number == 3:
            value[:] = 0
        if number == 4:
            sums[:] = 5
        if number == 8:
            unit[:] = 0
        if number == 9:
            # Within one octave or two, so that nearly all count.
            sums, unit = sums >> 4, np.full(heads, 2.0 ** -9)
        yield sums, unit, key, value


def run(config, stall, cycles=None, component=Softmax):
    """Codes and scales of hardware and golden model; every handshake is checked."""
    inputs, scales, wanted, wanted_scales = [], [], [], []
    for sums, unit_scale, key, value in passes(config):
        # The unit is rounded to a small float once more, times one.
        zeros = value % 16 * config.zeros
        found = pass_weights(sums, unit_scale, decode_kv_scale(key), decode_kv_scale(value - zeros),
                             config.weight_bits)
        rows = found.codes.tolist()
        wanted += [(row, zero) for row, zero in zip(rows, zeros.tolist())] if config.zeros else rows
        wanted_scales += small(head_scale(found.peaks, found.totals, found.exponent,
                                          config.weight_bits))
        scales += small(unit_scale)
        inputs += [{"sums": row, "scale": int(key[t]), "value_scale": int(value[t]),
                    "last": int(t == len(key) - 1)} for t, row in enumerate(sums.tolist())]
    softmax, scalar, at = SoftmaxCycles(config), HeadScalesCycles(config, UNIT), 0

    def check(seen):
        nonlocal at
        row = bool(inputs[at]["last"]) if seen["i"][0] else None
        step = softmax.step(scalar.unit_valid, row, scalar.takes_total, scalar.ratio_valid,
                            bool(seen["o"][1]))
        state = scalar.step(bool(seen["i_scale"][0]), step.unit, step.total, step.ratio,
                            bool(seen["o_scale"][1]))
        assert (step.i, step.o) == (bool(seen["i"][1]), bool(seen["o"][0]))
        assert (state.query, state.scale) == (bool(seen["i_scale"][1]), bool(seen["o_scale"][0]))
        at += all(seen["i"])

    got = run_cycles(WithScales(config, component), {"i": inputs, "i_scale": scales},
                     {"o": len(wanted), "o_scale": len(scales)}, stall=stall,
                     rng=np.random.default_rng(5), check=check)
    if cycles is not None:
        cycles += [cycle for cycle, _ in got["o"]]
    codes = [(list(p.codes), p.zero) if config.zeros else list(p.codes) for _, p in got["o"]]
    return (codes,
            [{"m": p.m, "e": p.e} for _, p in got["o_scale"]]), (wanted, wanted_scales)


@pytest.mark.parametrize(("config", "stall"), [
    (CONFIGS[0], 0.0), (CONFIGS[0], 0.5), (CONFIGS[1], 0.5), (CONFIGS[2], 0.0), (ZEROS, 0.5),
    pytest.param(CONFIGS[1], 0.0, marks=pytest.mark.slow),
    pytest.param(CONFIGS[2], 0.5, marks=pytest.mark.slow)], ids=str)
def test_matches_golden_model_in_value_and_cycle(config, stall):
    got, wanted = run(config, stall)
    assert got == wanted


@pytest.mark.slow
def test_adder_rows_compute_the_same():
    got, wanted = run(SoftmaxConfig(max_rows=20), 0.0)
    assert got == wanted


def test_passes_overlap():
    """Codes of the last, longest pass leave one a cycle."""
    cycles = []
    run(CONFIGS[-1], 0.0, cycles)
    assert cycles[-1] - cycles[-120] == 119


class Unmoved(ValueWeight):
    """Takes zero for the largest score."""

    def elaborate(self, platform):
        self.largest, port = C(0, signed(24)), self.largest
        m = super().elaborate(platform)
        self.largest = port
        return m


def test_a_maximum_that_is_not_looked_at_is_noticed(monkeypatch):
    monkeypatch.setattr(unit, "ValueWeight", Unmoved)
    got, wanted = run(CONFIGS[0], 0.0)
    assert got != wanted


def test_rows_that_are_not_there_are_noticed():
    broken = mutant(Softmax, "ps.append(Mux(done_there[part], p, 0))", "ps.append(p)")
    got, wanted = run(CONFIGS[0], 0.0, component=broken)
    assert got[1] != wanted[1]


def test_a_zero_point_of_another_row_is_noticed():
    broken = mutant(Softmax, "config.code.latency,", "config.code.latency - 1,")
    got, wanted = run(ZEROS, 0.0, component=broken)
    assert got[0] != wanted[0]


def test_an_overwritten_bank_is_noticed(monkeypatch):
    monkeypatch.setattr(Softmax, "after", lambda self, bank: C(0, 2))
    with pytest.raises(AssertionError):
        run(CONFIGS[0], 0.0)


@pytest.mark.parametrize(("wrong", "name"), [
    ({"queries": 0}, "queries"), ({"max_rows": 0}, "max_rows"), ({"max_rows": 4097}, "max_rows"),
    ({"weight_bits": 1}, "weight_bits"), ({"banks": 1}, "banks"), ({"form": ""}, "form"),
    ({"abreast": 3}, "abreast")])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        SoftmaxConfig(**wrong)
