# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from golden_model import smallfloat
from golden_model.quant.mixed_float_unit import compute, cycles
from golden_model.quick_float_config import MixedFloatConfig
from hw.quant.mixed_float_unit import MixedFloatUnit
from hw.quant.small_float_unit import Operation
from tests.hw.quant.test_small_float_unit import ask, bits, pairs
from tests.mutants import mutant

CONFIGS = [MixedFloatConfig(form="dsp"), MixedFloatConfig(digits=1)]
NAMES = ["from_int", "mul", "div", "sqrt", "add"]


def jobs(seed=5):
    """Operations in any order, with what must come of them."""
    a, b = pairs(seed=seed)
    rng = np.random.default_rng(seed)
    names, asked, wanted = rng.choice(NAMES, len(a)), [], []
    for name, x, y, n in zip(names, a, b, rng.integers(1 << 62, size=len(a))):
        asked.append({"operation": Operation[name.upper()], "a": bits(x), "b": bits(y),
                      "n": int(n)})
        wanted.append(bits(smallfloat.from_int(n) if name == "from_int"
                           else compute(name, x, y)))
    return names.tolist(), asked, wanted


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_any_order_of_operations_matches_the_golden_model(config):
    names, asked, wanted = jobs()
    got, took, _ = ask(MixedFloatUnit(config), asked)
    assert got == wanted
    assert took == [config.latency[name] for name in names]


def test_latencies_are_pinned():
    assert CONFIGS[0].latency == {"from_int": 5, "mul": 5, "div": 9, "sqrt": 39, "add": 28}
    assert CONFIGS[1].latency["div"] == 21
    assert cycles(CONFIGS[0], ["from_int", "div"]) == 15


@pytest.mark.parametrize(("old", "new"), [
    ("self.i.ready.eq(~busy)", "self.i.ready.eq(1)"),
    ("Mux(quick.o.valid, quick.o.payload, slow.o.payload)", "quick.o.payload"),
])
def test_planted_bugs_are_seen(old, new):
    _, asked, wanted = jobs()
    try:
        got, *_ = ask(mutant(MixedFloatUnit, old, new)(CONFIGS[0]), asked)
    except AssertionError:
        return
    assert got != wanted
