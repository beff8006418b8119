# SPDX-License-Identifier: Apache-2.0
"""Trits of every beat that the image gives, beside its packed bits."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.image_config import TritPortConfig
from hw.image.port import beat_stream
from hw.mac.trit_unpacker import TritUnpacker

__all__ = ["TritPort", "unpacked_layout"]


def unpacked_layout(config: TritPortConfig):
    """Beat as readers take it: `packed` bits of programs and tables, `trits` of weights."""
    return data.StructLayout({"packed": config.port.beat_bits, "trits": config.trit_bits})


class TritPort(wiring.Component):
    """The one unpacker of the image: a beat a cycle, ``config.latency`` cycles late.

    ``i.ready`` depends combinationally on ``o.ready``.

    Members
    -------
    i : :py:`In(beat_stream(config.port))`
    o : :py:`Out(stream.Signature(unpacked_layout(config)))`
    """

    def __init__(self, config: TritPortConfig):
        self.config = config
        super().__init__({
            "i": In(beat_stream(config.port)),
            "o": Out(stream.Signature(unpacked_layout(config))),
        })

    def elaborate(self, platform):
        m = Module()
        # Beats come late in their cycle, through all of a memory.
        m.submodules.unpacker = unpacker = TritUnpacker(self.config.unpacker, raw=True)
        wiring.connect(m, wiring.flipped(self.i), unpacker.i)
        packed = Signal.like(self.i.payload, reset_less=True)
        # As the unpacker moves: `i.ready`, but not by its net.
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += packed.eq(self.i.payload)
        m.d.comb += [
            self.o.valid.eq(unpacker.o.valid), unpacker.o.ready.eq(self.o.ready),
            self.o.p.packed.eq(packed), self.o.p.trits.eq(unpacker.o.payload),
        ]
        return m
