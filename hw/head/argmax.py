# SPDX-License-Identifier: Apache-2.0
"""The largest of a stream of logits: greedy decoding."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.head_config import ArgmaxConfig

__all__ = ["Argmax", "logit_layout"]


def logit_layout(config: ArgmaxConfig):
    """Payload of ``i``: one logit, and whether it is the vocabulary's last."""
    return data.StructLayout({"logit": signed(config.logit_bits), "last": 1})


class Argmax(wiring.Component):
    """Index and value of the largest logit; among equals the lowest index.

    One logit a cycle, in the order of their indices.  The token is offered ``config.latency``
    cycles after the last one; until it is taken, ``i`` waits.  ``i.ready`` depends on registers
    only.

    Members
    -------
    i : :py:`In(stream.Signature(logit_layout(config)))`
    o : :py:`Out(stream.Signature(StructLayout({"token", "logit"})))`
    """

    def __init__(self, config: ArgmaxConfig):
        self.config = config
        super().__init__({
            "i": In(stream.Signature(logit_layout(config))),
            "o": Out(stream.Signature(data.StructLayout({
                "token": range(config.max_vocab), "logit": signed(config.logit_bits),
            }))),
        })

    def elaborate(self, platform):
        m = Module()
        index, first = Signal(range(self.config.max_vocab)), Signal(init=1)
        best, logit = self.o.p, self.i.p.logit
        m.d.comb += self.i.ready.eq(~self.o.valid)
        with m.If(self.i.valid & self.i.ready):
            with m.If(first | (logit > best.logit)):
                m.d.sync += [best.token.eq(index), best.logit.eq(logit)]
            m.d.sync += [first.eq(self.i.p.last), index.eq(index + 1),
                         self.o.valid.eq(self.i.p.last)]
            with m.If(self.i.p.last):
                m.d.sync += index.eq(0)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m
