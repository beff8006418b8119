# SPDX-License-Identifier: Apache-2.0
from functools import cache
from math import isqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model import smallfloat
from golden_model.quant.small_float_unit import compute, cycles
from golden_model.quant_config import SmallFloatUnitConfig
from hw.quant.small_float_unit import DIGITS, Operation, SmallFloatUnit
from sim.simulator import Device, Recorder, simulate, source
from tests.hw.adversarial import STALLS, small_reals

CONFIG = SmallFloatUnitConfig()
ZERO = {"m": 0, "e": 0}


def small_floats(rng, count):
    m = rng.integers(1 << 15, 1 << 16, count)
    m[::7] = rng.choice([1 << 15, 65535, 32769, 49152, 40960], len(m[::7]))
    return smallfloat.join(m, rng.integers(-20, 20, count))


def pairs(seed=1):
    """Return the range's ends and zeros, all against all; then random ones, with ties for sums."""
    rng = np.random.default_rng(seed)
    corners = smallfloat.join([0, 32768, 65535, 32768, 65535, 32768, 65535, 49153],
                              [0, -128, -128, 127, 127, 0, 0, -17])
    a, b = (grid.ravel() for grid in np.meshgrid(corners, corners))
    close = small_floats(rng, 20)
    tie = smallfloat.join(rng.integers(1 << 15, 1 << 16, 20), rng.integers(-3, 3, 20))
    below = tie * 2.0 ** -rng.integers(14, 24, 20)
    random, other = small_floats(rng, 20), small_floats(rng, 20)
    near = close * 2.0 ** -rng.integers(1, 5, 20) * rng.choice([0.75, 1, 1.25], 20)
    more = 0x8000, 0xC003 / 4  # a sum of a little more than half of the last place
    return (np.concatenate([a, random, close, tie, close, more[:1]]),
            np.concatenate([b, other, close[::-1], *map(smallfloat.from_float, (below, near)),
                            more[1:]]))


def bits(value):
    m, e = smallfloat.split(np.asarray(value))
    return {"m": int(m), "e": int(e)}


def integers(seed=1):
    rng = np.random.default_rng(seed)
    random = [int(rng.integers(1, 1 << 62)) >> int(rng.integers(62)) for _ in range(60)]
    ties = [(65536 + odd) * 2 + 1 << by for odd in (0, 1) for by in (0, 1, 30)]
    return [0, 1, 2, 3, 65535, 65536, 131071, (1 << 63) - 1, 1 << 62, (1 << 53) + 1,
            *ties, *(tie + 1 for tie in ties), *random]


def ask(dut, requests, stall=0.0):
    sent, sink = [], Recorder(dut.o, len(requests), stall=stall)
    simulate(dut, source(dut.i, requests, stall=stall, cycles=sent), sink.run)
    return ([{"m": response.m, "e": response.e} for response in sink.payloads],
            [end - start for start, end in zip(sent, sink.cycles)], sent)


@pytest.mark.parametrize("name", ["mul", "div", "sqrt", "add"])
def test_matches_golden_model(name):
    a, b = pairs()
    requests = [{"operation": Operation[name.upper()], "a": bits(x), "b": bits(y), "n": 0}
                for x, y in zip(a, b)]
    got, took, _ = ask(SmallFloatUnit(CONFIG), requests)
    expected = [bits(value) for value in compute(name, a, b)]
    wrong = [case for case in zip(a, b, got, expected) if case[2] != case[3]]
    assert not wrong
    assert set(took) == {CONFIG.latency[name]}


def test_integers_match_golden_model():
    numbers = integers()
    requests = [{"operation": Operation.FROM_INT, "a": ZERO, "b": ZERO, "n": n} for n in numbers]
    got, took, _ = ask(SmallFloatUnit(CONFIG), requests)
    assert got == [bits(value) for value in smallfloat.from_int(np.array(numbers))]
    assert set(took) == {CONFIG.latency["from_int"]}


def test_operations_mix_with_stalls_on_both_sides():
    a, b = pairs(seed=5)
    names = np.random.default_rng(6).choice(["mul", "div", "sqrt", "add"], len(a))
    requests = [{"operation": Operation[name.upper()], "a": bits(x), "b": bits(y), "n": 0}
                for name, x, y in zip(names, a, b)]
    got, _, _ = ask(SmallFloatUnit(CONFIG), requests, stall=0.5)
    assert got == [bits(compute(name, x, y)) for name, x, y in zip(names, a, b)]


def test_cycles_back_to_back():
    names = ["mul", "add", "sqrt", "div"]
    requests = [{"operation": Operation[name.upper()], "a": bits(3.0), "b": bits(0.1), "n": 0}
                for name in names]
    _, took, sent = ask(SmallFloatUnit(CONFIG), requests)
    assert sent[-1] + took[-1] - sent[0] == cycles(CONFIG, names)


@pytest.mark.parametrize(("name", "latency"),
                         [("from_int", 16), ("mul", 23), ("div", 22), ("sqrt", 38), ("add", 27)])
def test_latency_is_pinned(name, latency):
    assert CONFIG.latency[name] == latency


@pytest.mark.parametrize("m", [32768, 32769, 40000, 49152, 65534, 65535])
@pytest.mark.parametrize("e", [-128, -127, 0, 1, 126])
def test_golden_root_against_integers(m, e):
    """An independent check: the rounded root of ``m * 2**e`` by integer arithmetic."""
    even = e % 2 == 0
    doubled = isqrt(m << 18 if even else m << 17)  # one bit more than the mantissa
    root, rest = doubled >> 1, doubled & 1  # a root is never half way between two
    assert smallfloat.split(smallfloat.sqrt(smallfloat.join(m, e))) == (
        root + rest, (e - (18 if even else 17)) // 2 + 1)


@pytest.mark.parametrize(("name", "digits"), [("div", 17), ("sqrt", 32), ("add", 15)])
def test_a_missing_digit_is_noticed(monkeypatch, name, digits):
    monkeypatch.setitem(DIGITS, name, digits)
    a, b = pairs()
    requests = [{"operation": Operation[name.upper()], "a": bits(x), "b": bits(y), "n": 0}
                for x, y in zip(a, b)]
    got, _, _ = ask(SmallFloatUnit(CONFIG), requests)
    assert got != [bits(value) for value in compute(name, a, b)]


def test_golden_model_refuses_an_unknown_operation():
    with pytest.raises(ValueError, match="operation must be one of mul, div, sqrt, add, not 'sub'"):
        compute("sub", np.ones(1), np.ones(1))


@cache
def device():
    return Device(SmallFloatUnit(CONFIG))


INTEGERS = st.one_of(st.integers(0, (1 << 63) - 1), st.integers(0, 1 << 17),
                     st.builds(lambda n, by: (1 << n) - by, st.integers(1, 63), st.integers(1, 2)))


@settings(max_examples=30, deadline=None)
@given(drawn=st.lists(st.tuples(st.sampled_from(["mul", "div", "sqrt", "add", "from_int"]),
                                small_reals(), small_reals(), INTEGERS), min_size=1, max_size=6),
       stall=STALLS)
def test_any_operations(drawn, stall):
    requests = [{"operation": Operation[name.upper()], "a": bits(a), "b": bits(b), "n": n}
                for name, a, b, n in drawn]
    got, took, _ = ask(device(), requests, stall)
    assert got == [bits(smallfloat.from_int(np.array(n)) if name == "from_int" else
                        compute(name, np.float64(a), np.float64(b))) for name, a, b, n in drawn]
    assert stall or took == [CONFIG.latency[name] for name, *_ in drawn]
