# SPDX-License-Identifier: Apache-2.0
"""Attention with its cache: words of tokens of several sequences, windows that wrap, errors."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from amaranth import C

from golden_model.attention.attend import MAX_ROWS, AttentionWidths
from golden_model.attention.cached_attention import cycle_bounds
from golden_model.cached_attention_config import MOST_ROWS, CachedAttentionConfig
from golden_model.config import Numerics
from golden_model.kv_config import ERRORS
from hw.attention.cached_attention import CachedAttention
from hw.kv.layouts import Operation
from sim.simulator import Device, Recorder, send, simulate, source
from tests.hw.attention.cached import CachedAttentionWithUnit, Model, Sequence
from tests.hw.attention.tokens import UNIT

GROUPED = Model(layers=2, heads=4, kv_heads=2, n=12, window=5, slots=2, lanes=8, queries=2)
SINGLE = Model(layers=1, heads=2, kv_heads=2, n=8, window=5, slots=1, lanes=8, queries=1)
NARROW = Model(layers=1, heads=4, kv_heads=1, n=6, window=4, slots=2, lanes=4, queries=1, beat=2,
               ports="1rw")
SHORT = Model(layers=1, heads=2, kv_heads=1, n=4, window=5, slots=1, lanes=8, queries=2)


@cache
def device(model):
    return Device(CachedAttentionWithUnit(model.config))


def run(sequence, stall=0.0, dut=None):
    """Return words, scales, names of errors, and cycles of each command and of the words."""
    dut, log, errors = dut or device(sequence.model), [], []
    words = Recorder(dut.o, len(sequence.wanted), stall=stall)
    scales = Recorder(dut.o_scale, len(sequence.scales), stall=stall and 0.9, seed=8)

    async def command(ctx):
        rng, cycle = np.random.default_rng(11), 0
        for name, payload in sequence.commands:
            while stall and rng.random() < stall:
                await ctx.tick()
                cycle += 1
            taken = []
            await send(ctx, getattr(dut, name), [payload], log=taken)
            cycle += taken[0] + 1
            if name == "i_command":
                log.append(cycle - 1)
        while not ctx.get(dut.idle):
            await ctx.tick()
        found = ctx.get(dut.errors)
        errors.extend(name for name in ERRORS if found[name])

    simulate(dut, command, source(dut.i, sequence.words, stall=stall, seed=5), words.run,
             scales.run)
    return ([list(row) for row in words.payloads],
            [{"m": scale.m, "e": scale.e} for scale in scales.payloads], set(errors), log,
            words.cycles)


def check(sequence, stall=0.0, dut=None):
    words, scales, errors, commands, cycles = run(sequence, stall, dut)
    assert words == sequence.wanted
    assert scales == sequence.scales
    assert errors == sequence.golden.cache.errors
    return commands, cycles


TINY = Model(layers=1, heads=2, kv_heads=1, n=4, window=3, slots=2, lanes=8, queries=2)


def several(model, count, seed=1, slots=None):
    return Sequence(model).begin(slots).tokens(np.random.default_rng(seed), count, slots)


def check_cycles(sequence, dut=None):
    """Check a run at full rate; return the cycles of each command to its words' first end."""
    model = sequence.model
    commands, cycles = check(sequence, dut=dut)
    repeats = [payload["repeats"] for name, payload in sequence.commands if name == "i_command"]
    beats = model.heads * model.n // model.beat
    each = sum(payload.get("op") == Operation.CLEAR for _, payload in sequence.commands)
    each *= model.layers
    took = []
    for number, start in enumerate(commands):
        bounds = cycle_bounds(model.config, UNIT, heads=model.heads, kv_heads=model.kv_heads,
                              rows=min(number // each + 1, model.window), n=model.n)
        took.append(cycles[beats * (sum(repeats[:number]) + 1) - 1] - start)
        assert bounds.least <= took[-1] <= bounds.most, (number, took, bounds)
    return took


def test_sequences_beyond_the_window_under_stalls():
    check(several(TINY, 2), 0.4)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "count", "stall"), [
    (GROUPED, 7, 0.4), (SINGLE, 14, 0.4), (NARROW, 7, 0.4)], ids=str)
def test_long_sequences_beyond_the_window_under_stalls(model, count, stall):
    check(several(model, count), stall)


def test_cycles_are_pinned_and_keep_their_bounds():
    """Literals as measured: nothing states them exactly, so a change must be seen."""
    assert check_cycles(several(TINY, 2, slots=[0])) == [639, 641]


@pytest.mark.slow
@pytest.mark.parametrize("model", [GROUPED, SINGLE, NARROW, SHORT], ids=str)
def test_cycles_keep_their_bounds(model):
    check_cycles(several(model, model.window + 1))


def test_a_slot_that_is_not_open_gives_zeros_and_errors():
    sequence, rng = Sequence(TINY).begin(slots=[0]), np.random.default_rng(2)
    sequence.advance(0)  # its token is not complete
    sequence.tokens(rng, 1, slots=[1]).tokens(rng, 1, slots=[0])
    check(sequence)
    assert not np.any(sequence.wanted[:TINY.heads * TINY.n // TINY.beat])
    assert np.any(sequence.wanted)
    assert sequence.golden.cache.errors == {"slot", "incomplete"}


class Coarse(CachedAttention):
    """Codes all rows with as few bits as those behind the first token."""

    @staticmethod
    def row_bits(first, config):
        return config.code_bits


class Swapped(CachedAttention):
    """Gives keys the scales of values."""

    def feed(self, m, command, first, feeding):
        class Other:
            def __getattr__(self, name):
                return getattr(command, {"key_scale": "value_scale"}.get(name, name))

        super().feed(m, Other(), first, feeding)


class Unadvanced(CachedAttention):
    """Takes every token for a slot's first one."""

    def feed(self, m, command, first, feeding):
        super().feed(m, command, C(1), feeding)


@pytest.mark.parametrize("broken", [
    Unadvanced, *(pytest.param(broken, marks=pytest.mark.slow) for broken in (Coarse, Swapped))])
def test_a_planted_bug_is_noticed(broken):
    sequence = several(TINY, 2, slots=[0])
    words, scales, *_ = run(sequence, dut=CachedAttentionWithUnit(TINY.config, broken))
    assert (words, scales) != (sequence.wanted, sequence.scales)


@pytest.mark.parametrize("numerics", [Numerics(), Numerics(kv_bits=4), Numerics(p_bits=12)],
                         ids=str)
def test_the_shift_of_outputs_is_the_decoders(numerics):
    assert MOST_ROWS == MAX_ROWS
    config = CachedAttentionConfig.of(GROUPED.shape, numerics, lanes=8, queries=1, window=5)
    assert config.output_shift == AttentionWidths.of(GROUPED.shape, numerics).output_shift


@pytest.mark.parametrize(("part", "changed", "name"), [
    ("cache", {"lanes": 16}, "cache.lanes"), ("cache", {"kv_bits": 4}, "cache.kv_bits"),
    ("cache", {"slots": 1}, "cache.slots"), ("cache", {"row_words": 3}, "cache.row_words"),
    ("attention", {"max_rows": 4}, "cache.window"), ("cache", {"sinks": 3}, "cache.sinks")])
def test_config_refuses_parts_that_do_not_fit(part, changed, name):
    config = GROUPED.config
    with pytest.raises(ValueError, match=f"^{name} must be"):
        dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part),
                                                                 **changed)})
