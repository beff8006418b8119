# SPDX-License-Identifier: Apache-2.0
from functools import cache

import numpy as np
import pytest
from amaranth import C
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import smallfloat
from golden_model.quant.norm_quantiser import (
    Schedule,
    norm_quantise,
    residual_schedule,
    schedule,
)
from golden_model.quant.rms_norm import FixedNorm
from golden_model.quant_config import NormQuantiserConfig
from golden_model.vector.residual_add import residual_add
from hw.quant.code_encoder import Format
from hw.quant.norm_quantiser import NormQuantiser
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, signed_words, small_reals
from tests.hw.quant.tokens import (
    PEAK,
    UNIT,
    QuantiserWithUnit,
    Token,
    beats,
    command,
    gaussian,
    near_ties,
    small,
)

FORMATS = ["int4", "fp4", "int8"]


@cache
def device(config):
    return Device(QuantiserWithUnit(config))


def run(config, tokens, stall=0.0, *, dut=None):
    dut, sent = dut or device(config), []
    vectors = [beat for token in tokens for _ in range(2) for beat in beats(config, token)]
    codes, scales = Recorder(dut.o, len(vectors) // 2, stall=stall), Recorder(
        dut.o_scale, len(tokens), stall=stall, seed=8)
    simulate(dut, source(dut.i_command, map(command, tokens), stall=stall, cycles=sent),
             source(dut.i, vectors, stall=stall, seed=5), codes.run, scales.run)
    got, ends = [[]], []
    for beat, cycle in zip(codes.payloads, codes.cycles):
        got[-1] += list(beat.codes)
        if beat.last:
            got.append([])
            ends.append(cycle)
    starts = zip(sent, [*sent[1:], sent[-1]])
    times = [Schedule(end - start, scale - start, following - start)
             for end, scale, (start, following) in zip(ends, scales.cycles, starts)]
    return got[:-1], [{"m": scale.m, "e": scale.e} for scale in scales.payloads], times


def check(config, tokens, stall=0.0, *, dut=None):
    got, scales, times = run(config, tokens, stall, dut=dut)
    for token, codes, scale, took in zip(tokens, got, scales, times, strict=True):
        expected, unit = norm_quantise(token.x, np.float64(token.scale), token.norm,
                                       token.fmt)
        n = len(token.x)
        assert codes[:n] == expected.tolist()
        assert codes[n:] == [0] * (-n % config.lanes)
        assert scale == small(unit)
        if not stall:
            stated = schedule(config, UNIT, n, token.norm is not None)
            assert took[:2] == stated[:2]
            assert token is tokens[-1] or took.command == stated.command


CONFIGS = [NormQuantiserConfig(form="dsp"),
           NormQuantiserConfig(lanes=1, max_n=40, rows_per_stage=1, form="dsp"),
           NormQuantiserConfig(lanes=3, max_n=40, rows_per_stage=12, form="dsp")]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("stall", [0.0, 0.4], ids=["full_rate", "stalled"])
def test_random_tokens_of_odd_sizes(config, stall):
    check(config, [gaussian(n, fmt, seed=n, norm=norm) for n, fmt, norm in [
        (1, "int4", True), (2, "int8", False), (7, "fp4", True), (31, "int4", True),
        (33, "int8", True), (40, "fp4", False)]], stall)


def test_adder_rows_compute_the_same():
    check(NormQuantiserConfig(lanes=2), [gaussian(13, fmt, seed=4) for fmt in FORMATS])


@pytest.mark.parametrize("fmt", FORMATS)
def test_corner_tokens(fmt):
    largest = FixedNorm(np.full(9, -2047), smallfloat.from_float(1 / 2047),
                        smallfloat.from_float(9e-5))
    ramp = np.arange(-4, 5)
    outlier = np.where(ramp == 2, PEAK - 1, ramp)
    check(CONFIGS[2], [
        Token(np.zeros(9, np.int64), fmt, largest), Token(np.zeros(1, np.int64), fmt),
        Token(np.full(9, -PEAK), fmt, largest), Token(np.full(9, PEAK - 1), fmt),
        Token(outlier, fmt, largest), Token(-outlier, fmt), Token(np.array([-PEAK]), fmt),
        Token(np.array([1]), fmt),
        Token(np.zeros(9, np.int64), fmt, largest._replace(eps=np.float64(0))),
        Token(ramp, fmt, FixedNorm(np.zeros(9, np.int64), np.float64(0), largest.eps)),
        Token(ramp * 1000, fmt, largest, scale=float(smallfloat.join(65535, 127))),
        Token(ramp, fmt, largest, scale=float(smallfloat.SMALLEST)),
    ])


def test_ties_go_to_even():
    """With a peak of twice the code's, odd words lie half way between two codes."""
    tie8 = np.array([254, 1, -1, 3, -3, 5, -253, 253, -254])
    tie4 = np.array([24, 1, -1, 3, -3, 5, -5, 7, -7, 10, -10, 14, -14, 20, -20])
    got, _, _ = run(CONFIGS[0], [Token(tie8, "int8"), Token(tie4, "fp4")])
    assert got[0][:9] == [127, 0, 0, 2, -2, 2, -126, 126, -127]
    assert got[1][:15] == [12, 0, 0, 2, -2, 2, -2, 4, -4, 4, -4, 8, -8, 8, -8]
    check(CONFIGS[0], [Token(tie8, "int8"), Token(tie4, "fp4")])


@pytest.mark.parametrize("fmt", FORMATS)
def test_codes_hang_on_every_bit_of_the_ratio(fmt):
    check(CONFIGS[0], near_ties(fmt))


def residuals(config, seed=6):
    """Yield jobs that saturate in the scaling, in the sum, in both and in neither."""
    rng = np.random.default_rng(seed)
    for scale, shift in [(0.0, 0), (2.0 ** -13, 13), (0.5, 0), (3.7e-5, 12), (1.0, 0), (3.0, 0),
                         (float(smallfloat.LARGEST), 5), (2.0 ** -60, -20), (0.013, 5)]:
        edge = np.array([-PEAK, PEAK - 1, -1, 0, 1, 3, -3, 5])
        y, x = (grid.ravel() for grid in np.meshgrid(edge, [-PEAK, PEAK - 1, 0, -2]))
        y = np.concatenate([y, rng.integers(-PEAK, PEAK, 7)])
        x = np.concatenate([x, rng.integers(-PEAK, PEAK, 7)])
        yield x, y, np.float64(smallfloat.from_float(scale)), shift


@pytest.mark.parametrize(("form", "stall"), [("booth", 0.0), ("dsp", 0.0), ("dsp", 0.4)])
def test_residual_additions_between_tokens(form, stall):
    config = NormQuantiserConfig(lanes=2, max_n=64, residual=True, form=form)
    dut, token = QuantiserWithUnit(config), gaussian(9, "int8", seed=2)
    jobs, sent, empty = list(residuals(config)), [], [0] * config.lanes
    fill = command(token)
    commands, vectors = [{**fill, "shift": 3}], [
        {**beat, "addend": empty} for _ in range(2) for beat in beats(config, token)]
    for x, y, scale, shift in jobs:
        commands.append({**fill, "n": len(x), "format": Format.RESIDUAL, "scale": small(scale),
                         "shift": shift})
        pad = -len(x) % config.lanes
        rows = [np.pad(part, (0, pad)).reshape(-1, config.lanes).tolist() for part in (x, y)]
        vectors += [{"x": b, "addend": a, "gain": [5] * config.lanes} for a, b in zip(*rows)]
    commands.append(commands[0])
    vectors += vectors[:2 * -(-9 // config.lanes)]
    sizes = [-(-count // config.lanes) for count in (9, *(len(x) for x, *_ in jobs), 9)]
    outputs = Recorder(dut.o, sum(sizes), stall=stall)
    scales = Recorder(dut.o_scale, 2, stall=stall, seed=8)
    simulate(dut, source(dut.i_command, commands, stall=stall, cycles=sent),
             source(dut.i, vectors, stall=stall, seed=5), outputs.run, scales.run)
    ends = np.cumsum(sizes)
    assert [n for n, beat in enumerate(outputs.payloads) if beat.last] == (ends - 1).tolist()
    codes, _ = norm_quantise(token.x, np.float64(token.scale), token.norm, token.fmt)
    for first, last in ((0, ends[0]), (ends[-2], ends[-1])):
        assert [code for beat in outputs.payloads[first:last] for code in beat.codes][:9] \
            == codes.tolist()
    for n, (x, y, scale, shift) in enumerate(jobs):
        got = [word for beat in outputs.payloads[ends[n]:ends[n + 1]] for word in beat.words]
        expected = residual_add(x[:, None], y[:, None], np.full(len(x), scale),
                                np.full(len(x), shift))
        assert got[:len(x)] == expected[:, 0].tolist()
        stated = residual_schedule(config, len(x))
        if not stall:
            assert outputs.cycles[ends[n + 1] - 1] - sent[n + 1] == stated.codes
            early = 0 if n == len(jobs) - 1 else 3  # a token comes last
            assert sent[n + 2] - sent[n + 1] == stated.command - early


def test_gain_beyond_the_symmetric_range_does_not_overflow():
    norm = FixedNorm(np.full(5, -2048), np.float64(1), np.float64(0))
    check(CONFIGS[0], [Token(np.full(5, -PEAK), "int8", norm)])


def test_a_residual_without_its_first_saturation_is_noticed(monkeypatch):
    def forgetful(addend, shifter, over, negative):
        return total(addend, shifter, C(0, 1), negative)

    total = NormQuantiser.sum
    monkeypatch.setattr(NormQuantiser, "sum", staticmethod(forgetful))
    with pytest.raises(AssertionError):
        test_residual_additions_between_tokens("dsp", 0.0)


@pytest.mark.parametrize(("lanes", "n", "norm", "stated"), [
    (4, 256, True, Schedule(188, 338, 343)), (4, 256, False, Schedule(188, 159, 193)),
    (4, 1, True, Schedule(62, 275, 280)), (1, 2560, True, Schedule(5178, 2832, 5183)),
])
def test_schedule_is_pinned(lanes, n, norm, stated):
    assert schedule(NormQuantiserConfig(lanes=lanes), UNIT, n, norm) == stated


def test_a_maximum_over_one_lane_too_few_is_noticed(monkeypatch):
    reduce = NormQuantiser.reduce

    def forgetful(self, m, values, *arguments):
        return reduce(self, m, [*values[:-1], values[-1][:0]], *arguments)

    monkeypatch.setattr(NormQuantiser, "reduce", forgetful)
    with pytest.raises(AssertionError):
        check(CONFIGS[0], [gaussian(33, "int8", seed=3)], dut=QuantiserWithUnit(CONFIGS[0]))


@pytest.mark.parametrize(("lanes", "n", "stated"), [(4, 256, Schedule(75, 0, 80)),
                                                    (1, 5, Schedule(16, 0, 21))])
def test_residual_schedule_is_pinned(lanes, n, stated):
    assert residual_schedule(NormQuantiserConfig(lanes=lanes, residual=True), n) == stated


@pytest.mark.parametrize(("wrong", "name"), [
    ({"lanes": 0}, "lanes"), ({"max_n": 0}, "max_n"), ({"max_n": 65537}, "max_n"),
    ({"gain_bits": 13}, "gain_bits"), ({"form": "table"}, "form"),
])
def test_config_refuses(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        NormQuantiserConfig(**wrong)


@pytest.mark.parametrize(("max_n", "square", "statistic"), [(1, 47, 35), (16_384, 61, 49),
                                                            (65_536, 63, 51)])
def test_widths_are_pinned(max_n, square, statistic):
    config = NormQuantiserConfig(max_n=max_n)
    assert (config.square_sum_bits, config.statistic_bits) == (square, statistic)


@st.composite
def any_token(draw):
    x = draw(st.lists(signed_words(24), min_size=1, max_size=9))
    gain = draw(st.lists(signed_words(12), min_size=len(x), max_size=len(x)))
    norm = FixedNorm(np.array(gain), np.float64(draw(small_reals(zero=False))),
                     np.float64(draw(small_reals())))
    return Token(np.array(x), draw(st.sampled_from(FORMATS)), draw(st.sampled_from([None, norm])),
                 draw(small_reals(zero=False)))


@settings(max_examples=12, deadline=None)
@given(tokens=st.lists(any_token(), min_size=1, max_size=2), stall=STALLS)
def test_any_tokens(tokens, stall):
    config = NormQuantiserConfig(lanes=2, max_n=40, form="dsp")
    check(config, tokens, stall)


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(st.tuples(signed_words(24), signed_words(24)), min_size=1, max_size=9),
       scale=small_reals(), shift=signed_words(8), stall=STALLS)
def test_any_residual_addition(drawn, scale, shift, stall):
    config = NormQuantiserConfig(lanes=2, max_n=40, residual=True, form="dsp")
    dut, sent = device(config), []
    x, y = (np.array(column) for column in zip(*drawn))
    rows = [np.pad(part, (0, len(x) % 2)).reshape(-1, 2).tolist() for part in (x, y)]
    job = {**command(gaussian(1, "int8", seed=1)), "n": len(x), "format": Format.RESIDUAL,
           "scale": small(scale), "shift": shift}
    outputs = Recorder(dut.o, len(rows[0]), stall=stall)
    simulate(dut, source(dut.i_command, [job], cycles=sent),
             source(dut.i, [{"x": b, "addend": a, "gain": [0, 0]} for a, b in zip(*rows)],
                    stall=stall), outputs.run)
    words = [word for beat in outputs.payloads for word in beat.words][:len(x)]
    assert words == residual_add(x[:, None], y[:, None], np.full(len(x), scale),
                                 np.full(len(x), shift))[:, 0].tolist()
    assert stall or outputs.cycles[-1] - sent[0] == residual_schedule(config, len(x)).codes


def test_a_pipeline_that_is_always_ready_is_noticed(monkeypatch):
    monkeypatch.setattr("hw.quant.norm_quantiser.vacant",
                        lambda m, ahead, name, *, advance: C(1))
    monkeypatch.setattr("sim.simulator.PATIENCE", 300)
    with pytest.raises(AssertionError):
        check(CONFIGS[1], [gaussian(33, "int8", seed=3)], 0.4, dut=QuantiserWithUnit(CONFIGS[1]))
