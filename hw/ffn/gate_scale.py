# SPDX-License-Identifier: Apache-2.0
"""Scale of the gated product, from those of the activations and of the matrices."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.vector_config import Relu2GluConfig
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST, Operation

__all__ = ["GateScale", "constants_layout"]

constants_layout = data.StructLayout({"gate": SMALL_FLOAT, "up": SMALL_FLOAT})
"""Scales of the gate's and of the up matrix."""

_LARGEST_EXPONENT = 127


class GateScale(wiring.Component):
    """``shift(mul(mul(s_g, s_g), s_u), k)`` with ``s_g = mul(s, gate)``, ``s_u = mul(s, up)``.

    Four multiplications, the first offered in the cycle after ``i``, each next one in the cycle
    after the response before it.  ``o`` is offered from the cycle after the last response on, once
    the shift is known; the next scale is taken in the cycle after ``o``'s at the earliest.

    Members
    -------
    enable : :py:`In(1)`
        Lets ``i`` in.
    constants : :py:`In(constants_layout)`
        Must be steady until ``o`` is delivered.
    shift, shift_known : :py:`In(...)`
        The same, from when it is known on.
    i : :py:`In(stream.Signature(SMALL_FLOAT))`
        Scale of the activations.
    o : :py:`Out(stream.Signature(SMALL_FLOAT))`
    o_request, i_response
        Streams of a :class:`hw.quant.small_float_unit.SmallFloatUnit`.
    """

    def __init__(self, config: Relu2GluConfig):
        self.config = config
        super().__init__({
            "enable": In(1),
            "constants": In(constants_layout),
            "shift": In(config.shift_bits),
            "shift_known": In(1),
            "i": In(stream.Signature(SMALL_FLOAT)),
            "o": Out(stream.Signature(SMALL_FLOAT)),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        scale, gate, up = (Signal(SMALL_FLOAT, name=name, reset_less=True)
                           for name in ("scale", "gate", "up"))
        request, response = self.o_request, self.i_response
        steps = ((scale, self.constants.gate, gate), (scale, self.constants.up, up),
                 (gate, gate, gate), (gate, up, gate))
        step = Signal(range(len(steps)))
        # Signals of their own: the request's constant fields are then no part of a process, which
        # nothing would ever wake in a Verilog simulator.
        left, right = Signal(SMALL_FLOAT), Signal(SMALL_FLOAT)
        with m.Switch(step):
            for n, (a, b, _) in enumerate(steps):
                with m.Case(n):
                    m.d.comb += [left.eq(a), right.eq(b)]
        m.d.comb += [request.p.operation.eq(Operation.MUL), request.p.a.eq(left),
                     request.p.b.eq(right)]

        power = Signal(signed(len(gate.e) + 2))
        m.d.comb += [power.eq(gate.e + self.shift),
                     self.o.p.m.eq(gate.m), self.o.p.e.eq(power)]
        with m.If(gate.m == 0):
            m.d.comb += self.o.p.e.eq(0)
        with m.Elif(power > _LARGEST_EXPONENT):
            m.d.comb += [self.o.p.m.eq((1 << len(gate.m)) - 1), self.o.p.e.eq(_LARGEST_EXPONENT)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(self.enable)
                m.d.sync += scale.eq(self.i.payload)
                with m.If(self.i.valid & self.enable):
                    m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += request.valid.eq(1)
                with m.If(request.ready):
                    m.next = "AWAIT"
            with m.State("AWAIT"):
                m.d.comb += response.ready.eq(1)
                with m.If(response.valid):
                    for n, (*_, to) in enumerate(steps):
                        with m.If(step == n):
                            m.d.sync += to.eq(response.payload)
                    m.d.sync += step.eq(step + 1)
                    m.next = "REQUEST"
                    with m.If(step == len(steps) - 1):
                        m.next = "DELIVER"
            with m.State("DELIVER"):
                m.d.comb += self.o.valid.eq(self.shift_known)
                with m.If(self.o.valid & self.o.ready):
                    m.next = "IDLE"
        return m
