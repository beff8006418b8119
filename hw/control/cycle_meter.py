# SPDX-License-Identifier: Apache-2.0
"""What each busy cycle was spent on."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.image_config import ImagePortConfig

__all__ = ["COUNTS", "CycleMeter"]

COUNTS = data.StructLayout({"stall_weights": 1, "stall_vector": 1, "stall_kv": 1,
                            "weight_beats": 1})
"""Kinds of a cycle."""


class CycleMeter(wiring.Component):
    """Every busy cycle is of one kind.

    ``weight_beats``: an engine took a beat of weights.  If none did, ``stall_weights``: the image
    owes beats and offers none; else ``stall_kv``: attention is at work; else ``stall_vector``.

    Members
    -------
    busy, weights, attending : :py:`In(1)`
    asked : :py:`In(1)`
        A request of `beats` is transferred to the image.
    beats : :py:`In(count_bits)`
    offered, taken : :py:`In(1)`
        The image offers a beat; it is taken.
    counts : :py:`Out(COUNTS)`
    """

    def __init__(self, config: ImagePortConfig):
        self.config = config
        super().__init__({
            "busy": In(1), "weights": In(1), "attending": In(1), "asked": In(1),
            "beats": In(config.count_bits), "offered": In(1), "taken": In(1),
            "counts": Out(COUNTS),
        })

    def elaborate(self, platform):
        m = Module()
        owed = Signal(self.config.count_bits + 1)
        m.d.sync += owed.eq(owed + Mux(self.asked, self.beats, 0) - self.taken)
        none, waits = Signal(), Signal()
        m.d.comb += [
            none.eq(self.busy & ~self.weights), waits.eq((owed != 0) & ~self.offered),
            self.counts.weight_beats.eq(self.busy & self.weights),
            self.counts.stall_weights.eq(none & waits),
            self.counts.stall_kv.eq(none & ~waits & self.attending),
            self.counts.stall_vector.eq(none & ~waits & ~self.attending),
        ]
        return m
