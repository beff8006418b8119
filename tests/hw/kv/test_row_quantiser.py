# SPDX-License-Identifier: Apache-2.0
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from amaranth import C, Cat
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import smallfloat
from golden_model.config import ModelShape, Numerics
from golden_model.kv.row_quantiser import HeadCycles, head_cycles
from golden_model.kv_row_config import RowQuantiserConfig
from golden_model.weights import random_weights
from hw.kv import row_quantiser
from hw.kv.row_quantiser import RowQuantiser
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, signed_words, small_reals
from tests.hw.kv.heads import (
    KINDS,
    MINMAX,
    Head,
    captured,
    corners,
    near_ties,
    random_heads,
    ties,
)
from tests.hw.quant.tokens import PEAK
from tests.mutants import mutant

CONFIGS = [RowQuantiserConfig(form="dsp"),
           RowQuantiserConfig(lanes=1, max_n=33, rows_per_stage=9, form="dsp"),
           RowQuantiserConfig(lanes=3, max_n=40, code_bits=12, rows_per_stage=1, form="dsp")]
RANGED = [RowQuantiserConfig(minmax=True, form="dsp"),
          RowQuantiserConfig(lanes=3, max_n=40, minmax=True, rows_per_stage=9, form="dsp")]


@cache
def device(config):
    return Device(RowQuantiser(config))


def run(config, heads, stall=0.0, *, codes_stall=None, dut=None):
    """Check codes and scales; return the cycles of each head."""
    codes_stall = stall if codes_stall is None else codes_stall
    dut, logs = dut or device(config), ([], [])
    sizes = [-(-len(head.x) // config.lanes) for head in heads]
    ends = np.cumsum(sizes)
    codes = Recorder(dut.o, int(ends[-1]), stall=codes_stall)
    scales = Recorder(dut.o_scale, len(heads), stall=stall and 0.98, seed=8)
    simulate(dut, source(dut.i_command, [head.command for head in heads], stall=stall,
                         cycles=logs[0]),
             source(dut.i, [beat for head in heads for beat in head.words(config)], stall=stall,
                    seed=5, cycles=logs[1]), codes.run, scales.run)
    assert [n for n, beat in enumerate(codes.payloads) if beat.last] == (ends - 1).tolist()
    for head, end, size, scale in zip(heads, ends, sizes, scales.payloads, strict=True):
        got = [code for beat in codes.payloads[end - size:end] for code in beat.codes]
        wanted, expected = head.coded()
        assert got[:len(head.x)] == wanted
        assert {"scale": {"m": scale.scale.m, "e": scale.scale.e}, "kv": scale.kv} == expected
    return [HeadCycles(command, logs[1][end - size:end], codes.cycles[end - size:end], scale)
            for command, end, size, scale in zip(logs[0], ends.tolist(), sizes, scales.cycles)]


def check(config, heads, dut=None):
    heads = list(heads)
    assert run(config, heads, dut=dut) == head_cycles(
        config, [len(head.x) for head in heads])


@pytest.mark.parametrize("config", [*CONFIGS, *RANGED], ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["full_rate", "stalled"])
def test_random_heads_of_odd_sizes(config, stall):
    lengths, kinds = [1, 2, 7, 32, 31, 33, 5, 9], MINMAX if config.minmax else KINDS
    if stall:
        run(config, list(random_heads(lengths, seed=2, kinds=kinds)), stall)
    else:
        check(config, random_heads(lengths, seed=1, kinds=kinds))


def waiting_heads(dut=None):
    run(CONFIGS[1], list(random_heads([20] * 9, seed=1)), codes_stall=0.9, dut=dut)


def test_heads_wait_for_their_buffer():
    waiting_heads()


def test_adder_rows_compute_the_same():
    check(RowQuantiserConfig(lanes=2), random_heads([13, 8, 21], seed=4))


def test_corner_heads():
    check(CONFIGS[0], corners(9))
    check(RANGED[0], corners(9, MINMAX))


def test_every_width_of_codes():
    kinds = [(fmt, bits) for bits in (2, 5, 6, 7, 8, 11, 12)
             for fmt in ("query", "midrise", "symmetric")]
    check(CONFIGS[2], [*random_heads([11] * len(kinds), seed=6, kinds=kinds),
                       *(Head(np.array([-PEAK, PEAK - 1, 1]), fmt, bits) for fmt, bits in kinds)])


def test_ties_go_to_even():
    heads = list(ties())
    assert any(code % 2 for head in heads for code in head.coded()[0])
    check(CONFIGS[0], heads)


def test_both_roundings_of_a_min_max_code_may_go_up():
    """3.5 levels either side of zero make eight steps, of which the highest is given up."""
    x = np.array([3584, -3584, 1024, 0])
    assert Head(x, "minmax", 3).coded()[0] == [7, 0, 5, 4]
    check(RANGED[0], [Head(x, "minmax", 3), *ties([("minmax", 3), ("minmax", 4)])])


def delicate_heads(dut=None):
    heads = [near_ties(*kind) for kind in KINDS]
    assert min(len(head.x) for head in heads) > 1
    check(CONFIGS[0], heads, dut)


def test_codes_hang_on_every_bit_of_the_ratio():
    delicate_heads()


def test_scales_at_the_ends_of_the_kv_scale():
    """Rounding that carries, saturates, and underflows, to the code 0 as well."""
    x = np.array([7, -1])
    low = 1 << 15
    heads = [Head(x, "midrise", 3, float(smallfloat.join(m, e)))
             for e in (-56, -55, -54, 8, 127)
             for m in (low, low + 16, low + 32, low + 48, 65_503, 65_504, 65_535)]
    kv = [head.coded()[1]["kv"] for head in heads]
    assert {0, 1, 0xFFFF} <= set(kv)
    check(CONFIGS[1], heads)


@pytest.mark.parametrize("numerics", [Numerics(), Numerics(
    act_format="int8", q_bits=4, kv_bits=4, kv_code="symmetric"), Numerics(kv_code="minmax")],
    ids=["default", "symmetric", "minmax"])
@pytest.mark.parametrize("tokens", [[3], [0, 4, 2]], ids=["bos", "later"])
def test_heads_of_a_model_are_coded_as_the_decoder_does(numerics, tokens):
    shape = ModelShape(vocab=9, hidden=24, ffn=12, layers=1, heads=2, kv_heads=1, head_dim=10,
                       context=8)
    found = list(captured(random_weights(shape, numerics, seed=3), tokens))
    for head, codes, scale in found:
        assert head.coded()[0] == codes
        assert scale.items() <= head.coded()[1].items()
    check(RANGED[0] if numerics.kv_code == "minmax" else CONFIGS[0], [head for head, *_ in found])


def test_words_that_come_late_are_taken_when_they_come():
    config, heads = CONFIGS[1], list(random_heads([3, 2, 4], seed=7))
    arrivals = [0, 9, 40, 41, 42, 300, 300, 301, 350]
    dut, taken = RowQuantiser(config), []
    words = [beat for head in heads for beat in head.words(config)]

    async def drive(ctx):
        for cycle in range(400):
            offered = len(taken) < len(words) and arrivals[len(taken)] <= cycle
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, words[len(taken)])
            *_, ready = await ctx.tick().sample(dut.i.ready)
            if offered and ready:
                taken.append(cycle)

    codes, scales = Recorder(dut.o, len(words)), Recorder(dut.o_scale, len(heads))
    simulate(dut, source(dut.i_command, [head.command for head in heads]), codes.run, scales.run,
             drive)
    cycles = head_cycles(config, [len(head.x) for head in heads], arrivals)
    assert taken == [cycle for head in cycles for cycle in head.words]
    assert codes.cycles == [cycle for head in cycles for cycle in head.codes]
    assert scales.cycles == [head.scale for head in cycles]


@pytest.mark.parametrize(("lanes", "n", "interval"), [
    (8, 32, 14), (4, 32, 14), (4, 64, 21), (4, 100, 30), (4, 128, 37), (1, 32, 35), (16, 128, 15)])
def test_heads_back_to_back(lanes, n, interval):
    config = RowQuantiserConfig(lanes=lanes)
    cycles = head_cycles(config, [n] * 10)
    assert config.interval(n) == interval
    assert {b.scale - a.scale for a, b in pairwise(cycles[3:])} == {interval}


def test_slower_division():
    assert RowQuantiserConfig(lanes=8, digits=1).interval(32) == 26


def test_cycles_are_pinned():
    """Literals, because hardware and test both follow the model and would drift together."""
    assert head_cycles(CONFIGS[0], [8, 7, 1]) == [
        HeadCycles(0, [1, 2], [26, 27], 24), HeadCycles(7, [8, 9], [40, 41], 38),
        HeadCycles(20, [21], [54], 52)]
    assert CONFIGS[0].head_latency == 24
    assert head_cycles(RANGED[0], [8, 7, 1]) == [
        HeadCycles(0, [1, 2], [33, 34], 40), HeadCycles(8, [9, 10], [52, 53], 59),
        HeadCycles(27, [28], [71], 78)]


def test_a_kv_scale_that_is_cut_off_is_noticed(monkeypatch):
    monkeypatch.setattr(row_quantiser, "kv_scale",
                        lambda scale: Cat(scale.m[5:-1], scale.e + 55)[:16])
    with pytest.raises(AssertionError):
        check(CONFIGS[0], random_heads([8, 7, 6], seed=1), RowQuantiser(CONFIGS[0]))


@pytest.mark.parametrize(("old", "new"), [
    ("Mux(kind.format == RowFormat.MINMAX, high + low,", "Mux(C(0), high + low,"),
    ("(rounded.most != 0) & (code > rounded.most)", "C(0)"),
    ("zero.eq(self.zero)]", "zero.eq(self.found)]")])
def test_a_min_max_code_gone_wrong_is_noticed(old, new):
    broken = mutant(RowQuantiser, old, new)
    with pytest.raises(AssertionError):
        check(RANGED[0], [*random_heads([9, 8, 7], 1, MINMAX[:1]), *ties(MINMAX[:1])],
              broken(RANGED[0]))


def test_too_few_buffers_are_noticed(monkeypatch):
    monkeypatch.setattr(RowQuantiserConfig, "buffers", 2)
    with pytest.raises(AssertionError):
        waiting_heads(RowQuantiser(CONFIGS[1]))


def test_a_ratio_without_its_last_bit_is_noticed(monkeypatch):
    encode = RowQuantiser.encode

    def forgetful(self, m, read, head, ratio, *arguments):
        return encode(self, m, read, head, type(ratio)(ratio.shape(), ratio.as_value()
                                                       & C(0xFFFFFE)), *arguments)

    monkeypatch.setattr(RowQuantiser, "encode", forgetful)
    with pytest.raises(AssertionError):
        delicate_heads(RowQuantiser(CONFIGS[0]))


@st.composite
def any_head(draw):
    return Head(np.array(draw(st.lists(signed_words(24), min_size=1, max_size=9))),
                draw(st.sampled_from(["query", "midrise", "symmetric"])), draw(st.integers(2, 12)),
                draw(small_reals()))


@settings(max_examples=20, deadline=None)
@given(heads=st.lists(any_head(), min_size=1, max_size=3), stall=STALLS)
def test_any_heads(heads, stall):
    if stall:
        run(CONFIGS[2], heads, stall)
    else:
        check(CONFIGS[2], heads)


@pytest.mark.parametrize(("field", "value"), [
    ("lanes", 0), ("max_n", 0), ("max_n", 4097), ("code_bits", 1), ("code_bits", 13),
    ("form", "table"), ("minmax", 2)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must be .* not {value!r}$"):
        RowQuantiserConfig(**{field: value})
