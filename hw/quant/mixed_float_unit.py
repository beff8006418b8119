# SPDX-License-Identifier: Apache-2.0
"""All small-float operations, the frequent ones in a few cycles."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.quick_float_config import OPERATIONS, MixedFloatConfig
from hw.quant.quick_float_unit import QuickFloatUnit
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation, SmallFloatUnit

__all__ = ["MixedFloatUnit"]


class MixedFloatUnit(wiring.Component):
    """A quick unit for integers, products and quotients, a small one for roots and sums.

    Streams and results are those of :class:`hw.quant.small_float_unit.SmallFloatUnit`; an operation
    takes ``config.latency`` cycles.  One operation at a time; ``i.ready`` and ``o.valid`` depend on
    registers only.

    Members
    -------
    i : :py:`In(stream.Signature(REQUEST))`
        Of `n` the lowest ``config.int_bits`` bits count.
    o : :py:`Out(stream.Signature(SMALL_FLOAT))`
    """

    def __init__(self, config: MixedFloatConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(REQUEST)),
            "o": Out(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.quick = quick = QuickFloatUnit(self.config.quick)
        m.submodules.slow = slow = SmallFloatUnit(self.config.slow)
        frequent, busy, pending = Signal(), Signal(), Signal()
        # Requests come from far, and are long.
        request = Signal(REQUEST, reset_less=True)
        with m.Switch(request.operation):
            with m.Case(*(Operation[name.upper()] for name in OPERATIONS)):
                m.d.comb += frequent.eq(1)
        m.d.comb += [
            quick.i.payload.eq(request), slow.i.payload.eq(request),
            quick.i.valid.eq(pending & frequent), slow.i.valid.eq(pending & ~frequent),
            self.i.ready.eq(~busy),
            self.o.valid.eq(quick.o.valid | slow.o.valid),
            self.o.payload.eq(Mux(quick.o.valid, quick.o.payload, slow.o.payload)),
            quick.o.ready.eq(self.o.ready), slow.o.ready.eq(self.o.ready),
        ]
        m.d.sync += pending.eq(self.i.valid & ~busy)
        with m.If(~busy):
            m.d.sync += request.eq(self.i.payload)
        with m.If(self.i.valid & ~busy):
            m.d.sync += busy.eq(1)
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += busy.eq(0)
        return m
