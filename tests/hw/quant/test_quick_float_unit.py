# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.quant.quick_float_unit import compute, cycles
from golden_model.quick_float_config import OPERATIONS, QuickFloatConfig
from hw.quant.quick_float_unit import QuickFloatUnit
from hw.quant.small_float_unit import Operation
from tests.hw.quant.test_small_float_unit import ZERO, ask, bits, integers, pairs
from tests.mutants import mutant

CONFIGS = [QuickFloatConfig(form="dsp", operations=OPERATIONS),
           QuickFloatConfig(digits=1, int_bits=63, shifts=2, operations=OPERATIONS),
           QuickFloatConfig(digits=6, int_bits=18, rows_per_stage=9, operations=OPERATIONS),
           QuickFloatConfig(form="dsp", int_bits=63, shifts=2, operations=OPERATIONS,
                            registered=True)]


def requests(name, a, b):
    return [{"operation": Operation[name.upper()], "a": bits(x), "b": bits(y), "n": 0}
            for x, y in zip(a, b)]


def check(config, name, dut=None):
    a, b = pairs()
    got, took, _ = ask(dut or QuickFloatUnit(config), requests(name, a, b))
    expected = [bits(value) for value in compute(config, name, a, b)]
    wrong = [case for case in zip(a, b, got, expected) if case[2] != case[3]]
    assert not wrong
    assert set(took) == {config.latency[name]}


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("name", ["mul", "div", "sqrt", "add"])
def test_matches_golden_model(config, name):
    check(config, name)


def convert(config, build=QuickFloatUnit):
    numbers = [n & (1 << config.int_bits) - 1 for n in integers()]
    got, took, _ = ask(build(config), [
        {"operation": Operation.FROM_INT, "a": ZERO, "b": ZERO, "n": n} for n in numbers])
    assert got == [bits(value) for value in smallfloat.from_int(np.array(numbers))]
    assert set(took) == {config.latency["from_int"]}


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_integers_match_golden_model(config):
    convert(config)


@pytest.mark.parametrize(("old", "new"), [
    ("known.eq(Cat(counted))", "known.eq(Cat(counted) >> 1)"),
    ("Cat(reversed(counted))", "Cat(counted)"), ("bits - MANTISSA_BITS", "bits - WIDTH")])
def test_a_planted_bug_in_the_exponent_is_noticed(old, new):
    with pytest.raises(AssertionError):
        convert(CONFIGS[1], mutant(QuickFloatUnit, old, new))


@pytest.mark.parametrize("operations", [("div",), ("from_int", "div"), ("mul", "div"), ("mul",),
                                        ("sqrt",), ("add", "sqrt")], ids=str)
def test_a_unit_of_fewer_operations(operations):
    config = QuickFloatConfig(operations=operations, form="dsp")
    a, b = pairs(seed=3)
    names = [name for name in operations if name != "from_int"]
    for name in names:
        got, *_ = ask(QuickFloatUnit(config), requests(name, a, b))
        assert got == [bits(value) for value in compute(config, name, a, b)]
    with pytest.raises(ValueError, match=r"^operation must be one of"):
        compute(config, next(name for name in OPERATIONS if name not in operations), a, b)


def mixed():
    """Operations in any order, with what must come of them."""
    a, b = pairs(seed=5)
    names = np.random.default_rng(6).choice(OPERATIONS, len(a))
    asked, wanted = [], []
    for name, x, y, n in zip(names, a, b, np.random.default_rng(7).integers(1 << 32, size=len(a))):
        asked.append({"operation": Operation[name.upper()], "a": bits(x), "b": bits(y),
                      "n": int(n)})
        wanted.append(bits(smallfloat.from_int(n) if name == "from_int"
                           else compute(CONFIGS[0], name, x, y)))
    return names.tolist(), asked, wanted


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("config", [CONFIGS[0], CONFIGS[3]], ids=["at once", "registered"])
def test_operations_mix(config, stall):
    names, asked, wanted = mixed()
    got, took, sent = ask(QuickFloatUnit(config), asked, stall=stall)
    assert got == wanted
    if not stall:
        assert sent[-1] + took[-1] - sent[0] == cycles(config, names)


@pytest.mark.parametrize(("digits", "quotient"), [(1, 20), (2, 11), (3, 8), (6, 5)])
def test_latency_is_pinned(digits, quotient):
    latency = {"from_int": 3, "mul": 4, "div": quotient, "sqrt": quotient, "add": 4}
    whole = QuickFloatConfig(digits=digits, operations=OPERATIONS)
    assert whole.latency == latency
    assert replace(whole, shifts=2).latency == {**latency, "from_int": 4}
    assert replace(whole, registered=True).latency == {
        name: cycles + 1 for name, cycles in latency.items()}


@pytest.mark.parametrize(("old", "new", "name"), [
    ("quotient, left.any()", "quotient, C(0, 1)", "div"),
    ("product[:-WIDTH].any()", "product[1:-WIDTH - 1].any()", "mul"),
    ("each < -128", "each < -129", "mul"), ("large | by_zero", "large", "div"),
    ("up & kept.all()", "kept.all()", "mul"), ("root, left.any()", "root, C(0, 1)", "sqrt"),
    ("Mux(a.e[0], a.m << 1, a.m << 2)", "(a.m << 2)", "sqrt"), ("(a.m == 0) | ", "", "add"),
    ("lost | beyond", "beyond", "add"), ("lost | beyond", "lost", "add"),
    ("(far > WIDTH)", "(far > 2 * WIDTH)", "add")])
def test_a_planted_bug_is_noticed(old, new, name):
    config = CONFIGS[0]
    with pytest.raises(AssertionError):
        check(config, name, mutant(QuickFloatUnit, old, new)(config))


@pytest.mark.parametrize(("field", "value"), [
    ("operations", ()), ("operations", ("root",)), ("digits", 4), ("int_bits", 64), ("form", ""),
    ("shifts", 3), ("registered", 2)])
def test_config_refuses(field, value):
    with pytest.raises(ValueError, match=f"^{field} must"):
        QuickFloatConfig(**{field: value})
