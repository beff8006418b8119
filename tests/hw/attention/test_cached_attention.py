# SPDX-License-Identifier: Apache-2.0
"""Attention with its cache: words of tokens of several sequences, windows that wrap, errors."""

import dataclasses
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from amaranth import C

from golden_model.attention.attend import MAX_ROWS, AttentionWidths
from golden_model.attention.cached_attention_cycles import command_cycles
from golden_model.cached_attention_config import MOST_ROWS, CachedAttentionConfig
from golden_model.config import Numerics
from golden_model.kv_config import ERRORS
from hw.attention.cached_attention import CachedAttention
from hw.kv.layouts import Operation
from sim.simulator import Device, Recorder, send, simulate, source
from tests.hw.attention.cached import Model, Sequence

GROUPED = Model(layers=2, heads=4, kv_heads=2, n=12, window=5, slots=2, lanes=8, queries=2)
SINGLE = Model(layers=1, heads=2, kv_heads=2, n=8, window=5, slots=1, lanes=8, queries=1)
NARROW = Model(layers=1, heads=4, kv_heads=1, n=6, window=4, slots=2, lanes=4, queries=1, beat=2,
               ports="1rw")
SHORT = Model(layers=1, heads=2, kv_heads=1, n=4, window=5, slots=1, lanes=8, queries=2)


@cache
def device(model):
    return Device(CachedAttention(model.config))


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


ORDERED = GROUPED._replace(grouped=True)
FOUR = Model(layers=1, heads=8, kv_heads=2, n=8, window=6, slots=1, lanes=8, queries=2, beat=8,
             grouped=True, abreast=4)
THREES = Model(layers=1, heads=6, kv_heads=2, n=8, window=4, slots=1, lanes=8, queries=1, beat=8,
               grouped=True)
DEEP = Model(layers=1, heads=6, kv_heads=2, n=24, window=9, slots=1, lanes=8, queries=1, beat=8)


def several(model, count, seed=1, slots=None, numerics=None):
    sequence = Sequence(model, numerics).begin(slots)
    return sequence.tokens(np.random.default_rng(seed), count, slots)


def stated(sequence, rows, arrivals=None):
    """Cycles of one command as the golden model has them."""
    model = sequence.model
    return command_cycles(sequence.config, heads=model.heads, kv_heads=model.kv_heads, n=model.n,
                          rows=rows, arrivals=arrivals)


def check_cycles(sequence, dut=None):
    """Check the cycle of every word of a run at full rate, and of the next command's taking."""
    model = sequence.model
    commands, cycles = check(sequence, dut=dut)
    repeats = [payload["repeats"] for name, payload in sequence.commands if name == "i_command"]
    names = [name for name, _ in sequence.commands]
    follows = [later == "i_command" for name, later in pairwise(names) if name == "i_command"]
    beats = model.heads * model.n // model.beat
    each = sum(payload.get("op") == Operation.CLEAR for _, payload in sequence.commands)
    each *= model.layers
    for number, start in enumerate(commands):
        wanted = stated(sequence, min(number // each + 1, model.window))
        first = beats * sum(repeats[:number])
        assert [cycle - start for cycle in cycles[first:first + beats]] == wanted.out, number
        if number < len(follows) and follows[number]:
            assert commands[number + 1] - start == wanted.done, number


def test_sequences_beyond_the_window_under_stalls():
    check(several(TINY, 2), 0.4)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "count", "stall"), [
    (GROUPED, 7, 0.4), (SINGLE, 14, 0.4), (NARROW, 7, 0.4), (ORDERED, 6, 0.4),
    (FOUR, 8, 0.4)], ids=str)
def test_long_sequences_beyond_the_window_under_stalls(model, count, stall):
    check(several(model, count), stall)


@pytest.mark.parametrize(("model", "numerics", "stall"), [
    (TINY, Numerics(kv_code="symmetric"), 0.0), (TINY, Numerics(kv_code="minmax"), 0.4), *(
        pytest.param(model, Numerics(**codes), 0.4, marks=pytest.mark.slow)
        for model in (GROUPED, SINGLE)
        for codes in ({"kv_code": "symmetric"}, {"kv_code": "minmax"}, {"kv_bits": 4},
                      {"kv_bits": 4, "kv_code": "minmax"}, {"q_bits": 4}))], ids=str)
def test_other_codes(model, numerics, stall):
    sequence = Sequence(model, numerics).begin([0]).tokens(
        np.random.default_rng(4), model.window + 1, [0])
    check(sequence, stall, CachedAttention(sequence.config))


def test_cycles_match_golden_model():
    check_cycles(several(TINY, 2, slots=[0]))


@pytest.mark.parametrize("model", [TINY, pytest.param(GROUPED, marks=pytest.mark.slow)], ids=str)
def test_cycles_of_min_max_codes_match_golden_model(model):
    sequence = several(model, 2, numerics=Numerics(kv_code="minmax"))
    check_cycles(sequence, CachedAttention(sequence.config))


@pytest.mark.slow
@pytest.mark.parametrize("model", [GROUPED, SINGLE, NARROW, SHORT, ORDERED, FOUR, THREES, DEEP],
                         ids=str)
def test_cycles_of_windows_that_wrap_match_golden_model(model):
    check_cycles(several(model, model.window + 1))


def words_in_time(model, gap, dut=None):
    """Offer each word of one command when its time has come; check the cycle of every transfer."""
    model = model._replace(layers=1)
    sequence = several(model, 1, slots=[0])
    dut, taken, commands = dut or device(model), [], []
    words = Recorder(dut.o, len(sequence.wanted))
    scales = Recorder(dut.o_scale, 1)
    arrivals = [gap * number // 2 for number in range(len(sequence.words))]

    async def command(ctx):
        for name, payload in sequence.commands:
            if name == "i_command":  # the caches come to rest first
                while not ctx.get(dut.idle):
                    await ctx.tick()
                await send(ctx, dut.i_command, [payload])
                break
            await send(ctx, getattr(dut, name), [payload])

    async def offer(ctx):
        start = None
        for cycle in range(5_000):
            number = len(taken)
            if number == len(arrivals):
                break
            offered = start is not None and arrivals[number] <= cycle - start
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, sequence.words[number])
            *_, valid, ready, free = await ctx.tick().sample(
                dut.i_command.valid, dut.i_command.ready, dut.i.ready)
            if start is None and valid and ready:
                start = cycle
                commands.append(cycle)
            if offered and free:
                taken.append(cycle - start)
        ctx.set(dut.i.valid, 0)

    simulate(dut, command, offer, words.run, scales.run)
    assert [list(row) for row in words.payloads] == sequence.wanted
    wanted = stated(sequence, 1, arrivals)
    assert taken == wanted.words
    assert [cycle - commands[0] for cycle in words.cycles] == wanted.out
    assert [cycle - commands[0] for cycle in scales.cycles] == [wanted.scale]


@pytest.mark.parametrize(("model", "gap"), [
    (TINY, 1), (TINY, 9), *(pytest.param(model, gap, marks=pytest.mark.slow)
                            for model in (GROUPED, ORDERED) for gap in (3, 16, 60))], ids=str)
def test_cycles_of_words_that_come_in_their_time_match_golden_model(model, gap):
    words_in_time(model, gap)


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
    words, scales, *_ = run(sequence, dut=broken(TINY.config))
    assert (words, scales) != (sequence.wanted, sequence.scales)


@pytest.mark.parametrize("numerics", [
    Numerics(), Numerics(kv_bits=4), Numerics(p_bits=12), Numerics(kv_code="symmetric"),
    Numerics(kv_code="minmax")], ids=str)
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
