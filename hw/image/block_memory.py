# SPDX-License-Identifier: Apache-2.0
"""A memory image in block RAM."""

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.image_config import BlockMemoryConfig
from hw.control.slack import Slack
from hw.image.port import beat_stream, burst_stream

__all__ = ["BlockMemory"]

_COLUMN = 9
"""Bits of a block RAM's column, with the one that is meant for parity."""
_PARTS = 12
"""Memories side by side: their cells are all over the device, and so far from one register."""


class BlockMemory(wiring.Component):
    """Bursts of beats from block RAM, a beat a cycle.

    The first beat comes ``config.latency`` cycles after its request, and bursts follow each other
    without a gap.  Addresses past the end wrap at the next power of two.  One request is taken
    ahead, while a burst is under way: ``i_request.ready`` depends on registers only, and what the
    memory does on those of ``o`` only, which may wait for a beat while the next is read.

    Members
    -------
    i_request : :py:`In(burst_stream(config.port))`
    o : :py:`Out(beat_stream(config.port))`
    i_write : :py:`In(stream.Signature(StructLayout({"address", "beat"})))`
        Loading: always ready, in memory a cycle later.  What a burst under way reads of it is not
        defined.
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
        m.d.comb += self.i_write.ready.eq(1)
        # A bit or two above whole columns of block RAM fit a deep one of their own.
        bits = config.port.beat_bits
        columns = bits // _COLUMN
        parts = [_COLUMN * len(range(n, columns, _PARTS)) for n in range(_PARTS)]
        # A beat is in memory a cycle after it was given.
        writing, beat = Signal(), Signal(bits, reset_less=True)
        m.d.sync += [writing.eq(self.i_write.valid), beat.eq(self.i_write.p.beat)]
        reads, addresses, low = [], [], 0
        for n, width in enumerate([*parts, bits % _COLUMN]):
            if width:
                name = f"memory_{n}" if n < _PARTS else "rest"
                m.submodules[name] = words = memory.Memory(shape=width, depth=config.depth, init=[])
                write, read = words.write_port(), words.read_port()
                # Each has addresses of its own: others after a reset, else they were merged.
                address, place = (Signal(range(max(config.depth, 2)), init=n % config.depth,
                                         name=f"{name}_{n}") for name in ("address", "place"))
                addresses.append(address)
                m.d.sync += place.eq(self.i_write.p.address)
                m.d.comb += [write.en.eq(writing), write.addr.eq(place),
                             write.data.eq(beat[low:low + width]), read.addr.eq(address)]
                reads.append(read)
                low += width

        left = Signal(config.port.count_bits)
        held, ahead = Signal(), Signal.like(self.i_request.p, reset_less=True)
        # Whether the memory goes on comes from a register: its cells are all over the device.
        m.submodules.slack = slack = Slack(self.o.payload.shape())
        wiring.connect(m, slack.o, wiring.flipped(self.o))
        advance = ~slack.i.valid | slack.i.ready
        m.d.comb += [
            *(read.en.eq(advance) for read in reads),
            slack.i.payload.eq(Cat(read.data for read in reads)),
            self.i_request.ready.eq(~held),
        ]
        with m.If(advance):
            m.d.sync += slack.i.valid.eq(left != 0)
            with m.If(left != 0):
                m.d.sync += [*(address.eq(address + 1) for address in addresses),
                             left.eq(left - 1)]
        asked = Mux(held, ahead, self.i_request.p)
        with m.If((left == 0) | advance & (left == 1)):
            taken = data.View(ahead.shape(), asked)
            # Of no request too: nothing is read then, and addresses need not wait to be told.
            m.d.sync += [address.eq(taken.address) for address in addresses]
            with m.If(held | self.i_request.valid):
                m.d.sync += [held.eq(0), left.eq(taken.beats)]
        with m.Elif(self.i_request.valid & ~held):
            m.d.sync += [held.eq(1), ahead.eq(self.i_request.p)]
        return m
