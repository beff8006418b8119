# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from amaranth import *
from amaranth.lib import wiring

from golden_model import smallfloat
from golden_model.control import scale_products as golden
from golden_model.control_config import ScaleProductsConfig
from golden_model.quant_config import SmallFloatUnitConfig
from hw.control.scale_products import ScaleProducts
from hw.quant.small_float_unit import SmallFloatUnit
from sim.simulator import receive, send, simulate
from tests.hw.quant.tokens import small
from tests.mutants import mutant

UNIT = SmallFloatUnitConfig()
CONFIG = ScaleProductsConfig()


def jobs(seed=1):
    rng = np.random.default_rng(seed)
    for count in (3, 1, 2, 3):
        yield [smallfloat.from_float(x) for x in rng.lognormal(-3, 4, 1 + count)]
    yield [smallfloat.from_float(1.5), np.zeros(()), np.float64(smallfloat.LARGEST)]


def run(stall=0.0, build=ScaleProducts):
    top, dut, unit = Module(), build(CONFIG), SmallFloatUnit(UNIT)
    top.submodules += [dut, unit]
    wiring.connect(top, dut.o_request, unit.i)
    wiring.connect(top, unit.o, dut.i_response)
    got, logs = [], ([], [])

    async def source(ctx):
        await send(ctx, dut.i, [{"scale": small(scale), "count": len(factors), "factors": [
            small(each) for each in [*factors, *[1.0] * (CONFIG.most - len(factors))]]}
            for scale, *factors in jobs()], stall=stall, log=logs[0])

    async def sink(ctx):
        await receive(ctx, dut.o, len(list(jobs())), got, stall=stall, log=logs[1])
    simulate(top, source, sink)
    return [[(one.m, one.e) for one in list(each)[:len(job) - 1]]
            for each, job in zip(got, jobs())], logs


def expected():
    return [[(int(m), int(e)) for m, e in map(smallfloat.split, golden.products(scale, factors))]
            for scale, *factors in jobs()]


@pytest.mark.parametrize("stall", [0.0, 0.6], ids=["full_rate", "stalled"])
def test_matches_golden_model(stall):
    got, (taken, given) = run(stall)
    assert got == expected()
    assert stall or given == [cycle + golden.latency(UNIT, len(job) - 1)
                              for cycle, job in zip(taken, jobs())]


def test_latency_is_pinned():
    assert golden.latency(UNIT, 3) == 73


@pytest.mark.parametrize(("old", "new"), [
    ("taken.factors[step]", "taken.factors[0]"),
    ("right.eq(taken.factors[step])", "right.eq(taken.scale)"),
])
def test_planted_bugs_are_seen(old, new):
    assert run(build=mutant(ScaleProducts, old, new))[0] != expected()
