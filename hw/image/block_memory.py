# SPDX-License-Identifier: Apache-2.0
"""A memory image in block RAM."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.image_config import BlockMemoryConfig
from hw.image.port import beat_stream, burst_stream

__all__ = ["BlockMemory"]


class BlockMemory(wiring.Component):
    """Bursts of beats from block RAM, a beat a cycle.

    The first beat comes ``config.latency`` cycles after its request, and bursts follow each other
    without a gap.  Addresses past the end wrap at the next power of two.  ``i_request.ready``
    depends combinationally on ``o.ready``.

    Members
    -------
    i_request : :py:`In(burst_stream(config.port))`
    o : :py:`Out(beat_stream(config.port))`
    i_write : :py:`In(stream.Signature(StructLayout({"address", "beat"})))`
        Loading: always ready.  What a burst under way reads of it is not defined.
    """

    def __init__(self, config: BlockMemoryConfig):
        self.config = config
        super().__init__({
            "i_request": In(burst_stream(config.port)),
            "o": Out(beat_stream(config.port)),
            "i_write": In(stream.Signature(data.StructLayout({
                "address": range(max(config.depth, 2)), "beat": config.port.beat_bits,
            }))),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        m.submodules.memory = words = memory.Memory(shape=config.port.beat_bits,
                                                    depth=config.depth, init=[])
        read, write = words.read_port(), words.write_port()
        m.d.comb += [
            self.i_write.ready.eq(1),
            write.en.eq(self.i_write.valid),
            write.addr.eq(self.i_write.p.address),
            write.data.eq(self.i_write.p.beat),
        ]

        address = Signal(range(max(config.depth, 2)))
        left = Signal(config.port.count_bits)
        advance = ~self.o.valid | self.o.ready
        m.d.comb += [
            read.addr.eq(address),
            read.en.eq(advance),
            self.o.payload.eq(read.data),
            self.i_request.ready.eq((left == 0) | advance & (left == 1)),
        ]
        with m.If(advance):
            m.d.sync += self.o.valid.eq(left != 0)
            with m.If(left != 0):
                m.d.sync += [address.eq(address + 1), left.eq(left - 1)]
        with m.If(self.i_request.valid & self.i_request.ready):
            m.d.sync += [address.eq(self.i_request.p.address), left.eq(self.i_request.p.beats)]
        return m
