# SPDX-License-Identifier: Apache-2.0
"""What a core of the ternary array looks like from outside, whatever it is made of inside."""

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.config import ArrayConfig
from hw.mac import layouts

__all__ = ["CoreSignature"]


class CoreSignature(wiring.Signature):
    """Interface of a core: ``rows`` dot products with one tile of activations that the core keeps.

    The core owns the activation storage, so that it may keep tables of sums instead of activations.
    A word accepted on ``i_x`` is seen by every beat accepted on ``i`` in a later cycle, and by none
    accepted before or in the same cycle.  Beats leave in the order they came, one a cycle unless
    ``o`` stalls.  Sums are undefined for words that were never written.

    Members
    -------
    i_x : :py:`In(stream.Signature(StructLayout({"address": ..., "x": signed(digit_bits)[lanes]})))`
        Activation words; an address is ``{digit, tile, bank}``.
    i : :py:`In(stream.Signature(StructLayout({"address": ..., "w": ..., "tag": tag})))`
        Weights ``w[row][lane]``, the word to multiply them with, and a tag.
    o : :py:`Out(stream.Signature(StructLayout({"sums": ..., "tag": tag})))`
        ``sums[row]`` and the tag that came with the weights.
    """

    def __init__(self, config: ArrayConfig, tag):
        super().__init__({
            "i_x": In(stream.Signature(data.StructLayout({
                "address": layouts.address(config),
                "x": layouts.word(config),
            }))),
            "i": In(stream.Signature(data.StructLayout({
                "address": layouts.address(config),
                "w": layouts.weights(config),
                "tag": tag,
            }))),
            "o": Out(stream.Signature(data.StructLayout({
                "sums": layouts.sums(config),
                "tag": tag,
            }))),
        })
