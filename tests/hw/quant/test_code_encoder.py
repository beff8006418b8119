# SPDX-License-Identifier: Apache-2.0
from itertools import product

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden_model.quant.code_encoder import encode
from hw.quant.code_encoder import CodeEncoder, Format

CASES = list(product(range(256), (0, 1), (0, 1), (0, 1), (0, 1)))
"""Every floor, half, sticky, over and sign."""


def codes(dut, fmt, *, ignored=None):
    got = []

    async def testbench(ctx):
        ctx.set(dut.format, Format[fmt.upper()])
        for case in CASES:
            for port, bit in zip(("floor", "half", "sticky", "over", "negative"), case):
                ctx.set(getattr(dut, port), 0 if port == ignored else bit)
            got.append(ctx.get(dut.code))
            await ctx.delay(1e-9)

    sim = Simulator(dut)
    sim.add_testbench(testbench)
    sim.run()
    return got


def values():
    floor, half, sticky, over, negative = np.array(CASES).T
    return (floor + half / 2 + sticky / 4 + 256 * over) * np.where(negative, -1, 1)


@pytest.mark.parametrize("fmt", ["int4", "fp4", "int8"])
def test_every_input_matches_golden_model(fmt):
    assert codes(CodeEncoder(), fmt) == encode(values(), fmt).tolist()


def test_ties_of_e2m1_go_to_the_even_mantissa_bit():
    ties = np.array([0.5, 1.5, 2.5, 3.5, 5, 7, 10, 13])
    assert encode(ties, "fp4").tolist() == [0, 2, 2, 4, 4, 8, 8, 12]


@pytest.mark.parametrize("port", ["half", "sticky", "over", "negative"])
@pytest.mark.parametrize("fmt", ["int4", "fp4", "int8"])
def test_a_stuck_input_is_noticed(fmt, port):
    assert codes(CodeEncoder(), fmt, ignored=port) != encode(values(), fmt).tolist()
