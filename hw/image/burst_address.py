# SPDX-License-Identifier: Apache-2.0
"""Where a row or a column lies: base plus index times its beats."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.image_config import BurstAddressConfig
from hw.image.port import burst_stream

__all__ = ["BurstAddress"]


class BurstAddress(wiring.Component):
    """Burst of ``beats`` beats at ``base + index * beats``: one index a cycle.

    A burst comes ``config.latency`` cycles after its index.  The pipeline stalls as a whole while
    ``o`` holds one that is not taken, so ``i.ready`` depends combinationally on ``o.ready``.
    Addresses are taken modulo their width.

    Members
    -------
    base, beats : :py:`In(...)`
        Of the matrix; they stand still while indices are under way.
    i : :py:`In(stream.Signature(range(config.max_index)))`
    o : :py:`Out(burst_stream(config.port))`
    """

    def __init__(self, config: BurstAddressConfig):
        self.config = config
        super().__init__({
            "base": In(config.port.address_bits),
            "beats": In(config.port.count_bits),
            "i": In(stream.Signature(range(max(config.max_index, 2)))),
            "o": Out(burst_stream(config.port)),
        })

    def elaborate(self, platform):
        m = Module()
        bits = self.config.port.address_bits
        advance = ~self.o.valid | self.o.ready
        valid, product = Signal(), Signal(bits, reset_less=True)
        m.d.comb += [self.i.ready.eq(advance), self.o.p.beats.eq(self.beats)]
        with m.If(advance):
            m.d.sync += [
                valid.eq(self.i.valid),
                product.eq(self.i.payload * self.beats),
                self.o.valid.eq(valid),
                self.o.p.address.eq(self.base + product),
            ]
        return m
