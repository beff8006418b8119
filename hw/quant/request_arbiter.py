# SPDX-License-Identifier: Apache-2.0
"""One small-float unit for several clients, in turn."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.arbiter_config import RequestArbiterConfig
from hw.quant.scale_lanes import SMALL_FLOAT
from hw.quant.small_float_unit import REQUEST

__all__ = ["RequestArbiter"]


class RequestArbiter(wiring.Component):
    """Requests of several clients, one operation at a time; each response goes to who asked.

    Adds no cycle: a request reaches an idle unit in the cycle in which it is offered, the response
    its client in the cycle in which it comes, and the next client's request the unit in the cycle
    after that.

    Round robin: the first client after the one served last that has a request.  So no client waits
    longer than for one operation of each, ``config.longest_wait`` cycles, whatever the others do;
    under fixed priorities two busy clients would shut out a third for as long as they liked.  A
    request that the unit has not taken keeps its turn.

    ``o_request`` depends combinationally on the clients' ``valid`` and payloads, their ``ready`` on
    those and on ``o_request.ready``; a response passes through combinationally both ways.

    Members
    -------
    i_request : :py:`In(stream.Signature(REQUEST)).array(config.clients)`
    o_response : :py:`Out(stream.Signature(SMALL_FLOAT)).array(config.clients)`
        A client that does not take its response holds up the others.
    o_request, i_response
        Streams of the :class:`hw.quant.small_float_unit.SmallFloatUnit`.
    """

    def __init__(self, config: RequestArbiterConfig):
        self.config = config
        super().__init__({
            "i_request": In(stream.Signature(REQUEST)).array(config.clients),
            "o_response": Out(stream.Signature(SMALL_FLOAT)).array(config.clients),
            "o_request": Out(stream.Signature(REQUEST)),
            "i_response": In(stream.Signature(SMALL_FLOAT)),
        })

    def elaborate(self, platform):
        m = Module()
        clients = self.config.clients
        owner, grant = Signal(clients, init=1 << clients - 1), Signal(clients)  # one bit set
        busy, kept = Signal(), Signal()
        offered = Cat(request.valid for request in self.i_request)
        m.d.comb += grant.eq(self.turn(m, offered, owner))
        with m.If(kept):
            m.d.comb += grant.eq(owner)

        m.d.comb += [
            self.o_request.valid.eq(offered.any() & ~busy),
            self.o_request.payload.eq(self.select(grant)),
            self.i_response.ready.eq(
                busy & (Cat(port.ready for port in self.o_response) & owner).any()),
        ]
        for n, (request, response) in enumerate(zip(self.i_request, self.o_response)):
            m.d.comb += [
                request.ready.eq(grant[n] & self.o_request.ready & ~busy),
                response.valid.eq(owner[n] & self.i_response.valid & busy),
                response.payload.eq(self.i_response.payload),
            ]
        with m.If(self.o_request.valid):
            m.d.sync += [owner.eq(grant), kept.eq(~self.o_request.ready),
                         busy.eq(self.o_request.ready)]
        with m.Elif(self.i_response.valid & self.i_response.ready):
            m.d.sync += busy.eq(0)
        return m

    @staticmethod
    def turn(m, offered, owner):
        """Return the first offer above the owner's, or else the first of all, as one bit."""
        above = Signal(len(offered))
        m.d.comb += above.eq(offered & ~((owner - 1) | owner))
        first = Mux(above.any(), above, offered)
        return first & -first

    def select(self, grant):
        """Return the payload of the one request whose bit is set."""
        chosen = C(0, REQUEST.size)
        for request, bit in zip(self.i_request, grant):
            chosen = chosen | (request.payload.as_value() & bit.replicate(REQUEST.size))
        return chosen
