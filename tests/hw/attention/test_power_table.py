# SPDX-License-Identifier: Apache-2.0
import pytest
from amaranth import *

from golden_model.attention.softmax import EXP2_TABLE, FRACTION_BITS
from hw.attention.power_table import READERS, PowerTable
from sim.simulator import simulate
from tests.mutants import mutant


def powers(build=PowerTable):
    """Return what each reader is given a cycle after it asks; they ask for different entries."""
    dut, got = build(), [[] for _ in range(READERS)]
    size = 1 << FRACTION_BITS

    async def both(ctx):
        for f in range(size + 1):
            for reader in range(READERS):
                ctx.set(dut.at[reader], (f + 77 * reader) % size)
            sampled = await ctx.tick().sample(*dut.power)
            for reader, power in enumerate(sampled[2:]):
                got[reader].append(power)
    simulate(dut, both)
    return [values[1:] for values in got]


def wanted():
    return [[int(EXP2_TABLE[(f + 77 * reader) % len(EXP2_TABLE)])
             for f in range(len(EXP2_TABLE))] for reader in range(READERS)]


def test_both_readers_get_the_golden_models_powers():
    assert powers() == wanted()


@pytest.mark.parametrize(("old", "new"), [
    ("read.addr.eq(at)", "read.addr.eq(self.at[0])"),
    ("power.eq(read.data)", "power.eq(read.data | 1)")])
def test_planted_bugs_are_seen(old, new):
    assert powers(mutant(PowerTable, old, new)) != wanted()
