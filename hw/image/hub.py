# SPDX-License-Identifier: Apache-2.0
"""One port on the memory image, several readers."""

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
        waiting = C(0, 1)   # a reader ahead asks
        for client, request in enumerate(self.i_request):
            mine = request.valid & ~waiting
            waiting = waiting | request.valid
            with m.If(mine):
                m.d.comb += [chosen.client.eq(client), chosen.beats.eq(request.p.beats),
                             self.o_request.p.eq(request.p)]
            m.d.comb += request.ready.eq(mine & queue.w_rdy & self.o_request.ready)
        m.d.comb += [self.o_request.valid.eq(waiting & queue.w_rdy),
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
