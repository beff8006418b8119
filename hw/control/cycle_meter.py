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
    What a cycle was is told in the next one.

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
        asked, beats, taken = Signal(), Signal.like(self.beats), Signal()
        none, weights, offered, attending = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            asked.eq(self.asked), beats.eq(self.beats), taken.eq(self.taken),
            owed.eq(owed + Mux(asked, beats, 0) - taken),
            none.eq(self.busy & ~self.weights), weights.eq(self.busy & self.weights),
            offered.eq(self.offered), attending.eq(self.attending),
        ]
        waits = Signal()
        m.d.comb += [
            waits.eq((owed != 0) & ~offered), self.counts.weight_beats.eq(weights),
            self.counts.stall_weights.eq(none & waits),
            self.counts.stall_kv.eq(none & ~waits & attending),
            self.counts.stall_vector.eq(none & ~waits & ~attending),
        ]
        return m
