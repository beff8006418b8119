# SPDX-License-Identifier: Apache-2.0
import zlib

import numpy as np
import pytest
from amaranth import *

from golden_model.image import crc as golden
from hw.image import crc
from sim.simulator import simulate


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
def test_states_are_those_of_the_register_and_of_zlib(count):
    m = Module()
    content, state, following = Signal(8 * count), Signal(32, init=crc.START), Signal(32)
    m.d.comb += following.eq(crc.step(state, content))
    m.d.sync += state.eq(following)
    rng = np.random.default_rng(count)
    whole = b""

    async def bench(ctx):
        nonlocal whole
        expected = golden.START
        for number in range(60):
            part = bytes(count) if number == 7 else rng.bytes(count)
            ctx.set(content, int.from_bytes(part, "little"))
            expected, whole = golden.step(expected, part), whole + part
            assert ctx.get(following) == expected
            assert expected ^ golden.START == zlib.crc32(whole)
            await ctx.tick()

    simulate(m, bench)


def test_the_published_check_value():
    assert golden.step(golden.START, b"123456789") ^ golden.START == 0xCBF43926
    assert (crc.START, crc.POLYNOMIAL) == (golden.START, golden.POLYNOMIAL)
