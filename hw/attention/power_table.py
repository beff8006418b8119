# SPDX-License-Identifier: Apache-2.0
"""Powers of two between a half and one, for two readers."""

from amaranth import *
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from golden_model.softmax_config import TABLE_FRACTION_BITS, WEIGHT_BITS

__all__ = ["READERS", "PowerTable"]

READERS = 2
"""A block RAM has two ports."""

TABLE = [round(2 ** (WEIGHT_BITS - 1 - fraction / (1 << TABLE_FRACTION_BITS)))
         for fraction in range(1 << TABLE_FRACTION_BITS)]
"""``2**15 * 2**(-f / 256)``; no entry is near a tie."""


class PowerTable(wiring.Component):
    """``RNE(2**15 * 2**(-f / 256))``, a cycle after `f` was asked for, of each reader.

    Members
    -------
    at : :py:`In(8)`, of each reader
        f.
    power : :py:`Out(16)`, of each reader
    """

    def __init__(self) -> None:
        super().__init__({"at": In(TABLE_FRACTION_BITS).array(READERS),
                          "power": Out(WEIGHT_BITS).array(READERS)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = memory.Memory(shape=WEIGHT_BITS, depth=len(TABLE), init=TABLE)
        for at, power in zip(self.at, self.power):
            read = table.read_port()
            m.d.comb += [read.addr.eq(at), power.eq(read.data)]
        return m
