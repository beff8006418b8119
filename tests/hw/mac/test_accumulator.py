# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from amaranth import Module

from golden_model.config import ArrayConfig
from golden_model.mac.accumulator import AccumulatorCycles, BeatTag, accumulator
from hw.mac.accumulator import Accumulator
from sim.simulator import run_cycles
from tests.mutants import mutant

CONFIG = ArrayConfig(rows=3, lanes=4, max_k=16, acc_bits=13)


def check_accumulator(config=CONFIG, component=Accumulator, stall=0.0, beats=80):
    """Totals, order, and every cycle of both handshakes."""
    rng = np.random.default_rng(7)
    peak = config.dot.sum_range.stop - 1
    sums = rng.integers(-peak, peak + 1, (beats, config.rows))
    sums[0], sums[1] = peak, -peak
    high = rng.random(beats) < 0.5 if config.max_digits > 1 else np.zeros(beats, bool)
    last = rng.random(beats) < 0.4
    last[-1] = True
    tags = [BeatTag(bool(a), bool(b), n % 3 == 0) for n, (a, b) in enumerate(zip(high, last))]
    tokens, firsts = np.zeros(beats, int), np.zeros(beats, bool)
    if config.batch > 1:
        tokens = rng.integers(0, config.batch, beats)
        begins = set(range(config.batch))
        for n, token in enumerate(tokens.tolist()):
            firsts[n] = token in begins
            (begins.add if last[n] else begins.discard)(token)
    model, position = AccumulatorCycles(), [0]

    def check(seen):
        (i_valid, i_ready), (o_valid, o_ready) = seen["i"], seen["o"]
        tag = tags[position[0]] if i_valid else None
        assert o_valid == model.valid
        assert not i_valid or i_ready == model.ready(tag, bool(o_ready))
        position[0] += i_valid and i_ready
        model.tick(tag, bool(o_ready))

    payloads = [{"sums": row, "tag": {
        **{name: int(bit) for name, bit in tag._asdict().items()},
        **({"token": token, "first": int(first)} if config.batch > 1 else {})}}
                for row, tag, token, first in zip(sums.tolist(), tags, tokens.tolist(), firsts)]
    taken = run_cycles(component(config), {"i": payloads}, {"o": int(last.sum())}, stall=stall,
                       rng=rng, check=check)["o"]
    got = [[payload.sums[row] for row in range(config.rows)] for _, payload in taken]
    assert got == accumulator(config, sums, high, last, tokens).tolist()
    assert [payload.last for _, payload in taken] == [tag.final for tag in tags if tag.last]


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("digit_bits", [4, 5])
def test_matches_golden_model_in_value_and_cycle(stall, digit_bits):
    check_accumulator(ArrayConfig(rows=3, lanes=4, max_k=16, acc_bits=13, digit_bits=digit_bits),
                      stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("batch", [2, 3, 4])
def test_tokens_do_not_mix(batch, stall):
    check_accumulator(dataclasses.replace(CONFIG, batch=batch), stall=stall)


@pytest.mark.parametrize(("old", "new"), [
    ("Mux(tag.first, 0, sets.read[n])", "sets.read[n]"),
    ("write.en.eq(self.i.valid & self.i.ready)", "write.en.eq(self.i.valid)"),
    ("depth=self.config.batch", "depth=self.config.batch - 1")])
def test_planted_bug_among_tokens_is_found(old, new):
    with pytest.raises(AssertionError):
        check_accumulator(dataclasses.replace(CONFIG, batch=3), mutant(Accumulator, old, new), 0.5)


def test_single_row():
    check_accumulator(ArrayConfig(rows=1, lanes=1, max_k=1, acc_bits=20), stall=0.3)


def test_totals_wrap_at_the_configured_width():
    config = ArrayConfig(rows=1, lanes=1, max_k=1, acc_bits=9)
    sums = np.full((20, 1), 16)
    last = np.arange(20) == 19
    assert accumulator(config, sums, last, last).tolist() == [[19 * 16 + 256 - 512]]
    beats = [{"sums": [16], "tag": {"high": int(n == 19), "last": int(n == 19), "final": 1}}
             for n in range(20)]
    (_, payload), = run_cycles(Accumulator(config), {"i": beats}, {"o": 1})["o"]
    assert payload.sums[0] == 19 * 16 + 256 - 512


class Mutant(Accumulator):
    """An accumulator with statements that come last and win."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        assert isinstance(m, Module)
        self.mutate(m)
        return m


class Eager(Mutant):
    """Ready for a total while one waits."""

    def mutate(self, m):
        m.d.comb += self.i.ready.eq(1)


class Lazy(Mutant):
    """A total blocks the beats of the next block: right values, fewer a cycle."""

    def mutate(self, m):
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)


class WrongFinal(Mutant):
    """Every block is called the last."""

    def mutate(self, m):
        m.d.comb += self.o.p.last.eq(1)


@pytest.mark.parametrize("broken", [Eager, Lazy, WrongFinal])
def test_planted_bug_is_found(broken):
    with pytest.raises(AssertionError):
        check_accumulator(component=broken, stall=0.5)
