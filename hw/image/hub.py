# SPDX-License-Identifier: Apache-2.0
"""One port on the memory image, several readers."""

from functools import reduce
from operator import or_

from amaranth import *
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out

from golden_model.image_config import ImageHubConfig
from hw.image.port import beat_stream, burst_stream

__all__ = ["ImageHub"]


class ImageHub(wiring.Component):
    """Bursts of several readers on one port; each reader gets its own beats, in its own order.

    A request passes in the cycle in which it is offered if the port takes it; among several the
    first reader's goes first.  Beats pass without delay.  The port answers in the order of the
    requests, so a reader that does not take its beats holds up those behind it: a reader asks for
    what it will take without waiting for another reader's.

    ``i_request[k].ready`` and ``i_beats.ready`` are combinational.

    Members
    -------
    i_request : :py:`In(burst_stream(config.port)).array(config.clients)`
    o : :py:`Out(beat_stream(config.port)).array(config.clients)`
    o_request, i_beats
        The port, whose first beat comes a cycle after its request at the earliest.
    """

    def __init__(self, config: ImageHubConfig):
        self.config = config
        super().__init__({
            "i_request": In(burst_stream(config.port)).array(config.clients),
            "o": Out(beat_stream(config.port)).array(config.clients),
            "o_request": Out(burst_stream(config.port)),
            "i_beats": In(beat_stream(config.port)),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        entry = data.StructLayout({"client": range(max(config.clients, 2)),
                                   "beats": config.port.count_bits})
        m.submodules.queue = queue = fifo.SyncFIFO(width=entry.size, depth=config.in_flight)

        chosen = Signal(entry)
        m.d.comb += queue.w_data.eq(chosen)
        asking = Cat(request.valid for request in self.i_request)
        turn = Signal.like(asking)
        m.d.comb += turn.eq(Cat(asks & ~asking[:n].any() for n, asks in enumerate(asking)))
        for client, request in enumerate(self.i_request):
            m.d.comb += request.ready.eq(turn[client] & queue.w_rdy & self.o_request.ready)
        # Side by side: a choice that goes from reader to reader is the longest path there is.
        m.d.comb += [
            self.o_request.p.eq(self.one_of(turn, (request.p for request in self.i_request))),
            chosen.client.eq(self.one_of(turn, range(config.clients))),
            chosen.beats.eq(self.one_of(turn, (request.p.beats for request in self.i_request))),
        ]
        m.d.comb += [self.o_request.valid.eq(asking.any() & queue.w_rdy),
                     queue.w_en.eq(self.o_request.valid & self.o_request.ready)]

        head = data.View(entry, queue.r_data)
        number = Signal(config.port.count_bits, init=1)   # of the beat in its burst, from 1
        for client, out in enumerate(self.o):
            mine = queue.r_rdy & (head.client == client)
            m.d.comb += [out.payload.eq(self.i_beats.payload),
                         out.valid.eq(mine & self.i_beats.valid)]
            with m.If(mine):
                m.d.comb += self.i_beats.ready.eq(out.ready)
        with m.If(self.i_beats.valid & self.i_beats.ready):
            m.d.sync += number.eq(number + 1)
            with m.If(number == head.beats):
                m.d.sync += number.eq(1)
                m.d.comb += queue.r_en.eq(1)
        return m

    @staticmethod
    def one_of(turn, values):
        """Return the value whose turn it is, or zero."""
        values = [Value.cast(value) for value in values]
        return reduce(or_, (Mux(turn[n], value, 0) for n, value in enumerate(values)))
