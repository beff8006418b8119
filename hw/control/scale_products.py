# SPDX-License-Identifier: Apache-2.0
"""Products of one scale and several constants."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.control_config import ScaleProductsConfig
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation

__all__ = ["ScaleProducts"]


class ScaleProducts(wiring.Component):
    """``mul(scale, factor)`` of up to ``config.most`` factors, one after the other.

    The first is asked for in the cycle after ``i``, each next one in the cycle after the response
    before it; ``o`` is offered from the cycle after the last response on.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"scale", "factors", "count"})))`
        `count` of the factors are used, at least 1.
    o : :py:`Out(stream.Signature(ArrayLayout(SMALL_FLOAT, config.most)))`
        Products; past `count` they mean nothing.
    o_request, i_response
        Streams of a :class:`hw.quant.small_float_unit.SmallFloatUnit`.
    """

    def __init__(self, config: ScaleProductsConfig):
        self.config = config
        floats = data.ArrayLayout(SMALL_FLOAT, config.most)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({
                "scale": SMALL_FLOAT, "factors": floats, "count": range(config.most + 1),
            }))),
            "o": Out(stream.Signature(floats)),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        request, response = self.o_request, self.i_response
        taken = Signal(self.i.p.shape(), reset_less=True)
        products = Signal(self.o.p.shape(), reset_less=True)
        step = Signal.like(taken.count)
        left, right = Signal(SMALL_FLOAT), Signal(SMALL_FLOAT)
        m.d.comb += [left.eq(taken.scale), right.eq(taken.factors[step]),
                     request.p.operation.eq(Operation.MUL), request.p.a.eq(left),
                     request.p.b.eq(right), self.o.p.eq(products)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [taken.eq(self.i.p), step.eq(0)]
                with m.If(self.i.valid):
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += request.valid.eq(1)
                with m.If(request.ready):
                    m.next = "AWAIT"
            with m.State("AWAIT"):
                m.d.comb += response.ready.eq(1)
                with m.If(response.valid):
                    m.d.sync += [products[step].eq(response.p), step.eq(step + 1)]
                    m.next = "REQUEST"
                    with m.If(step + 1 == taken.count):
                        m.next = "DELIVER"
            with m.State("DELIVER"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
