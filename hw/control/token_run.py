# SPDX-License-Identifier: Apache-2.0
"""One token: a run of the program, then the cache's advance; control commands in between."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.control_config import TokenRunConfig
from hw.kv.layouts import Operation, control_layout

__all__ = ["TokenRun", "program_layout", "token_layout"]

TOKEN_BITS = 24
POSITION_BITS = 20


def token_layout(config: TokenRunConfig):
    """Payload of ``i_token``: a token of a sequence, and whether nobody wants its successor.

    With a batch: `count` tokens, the position of the first, whether nobody wants the last one's
    successor; that of the others is not made.
    """
    batch = config.cache.batch
    tokens = {"token": TOKEN_BITS} if batch == 1 else {
        "tokens": data.ArrayLayout(TOKEN_BITS, batch), "count": range(batch + 1)}
    return data.StructLayout({**tokens, "slot": range(max(2, config.cache.slots)),
                              "position": POSITION_BITS, "skip_head": 1})


def program_layout(config: TokenRunConfig):
    """Where the program lies, its instructions, and those of a token without a successor."""
    count = config.sequencer.count_bits
    return data.StructLayout({"address": config.sequencer.port.address_bits, "count": count,
                              "head_count": count})


class TokenRun(wiring.Component):
    """Asks for a run for each token and lets the cache advance when it is over.

    A token whose run ended by a fault does not advance.  Control commands of the cache pass without
    delay while no token is in work, ahead of one that waits.

    Members
    -------
    i_token : :py:`In(stream.Signature(token_layout(config)))`
        Accepted when all of it is done.
    program : :py:`In(program_layout(config))`
        Steady while a token is in work.
    i_control : :py:`In(stream.Signature(control_layout(config.cache)))`
    o_control : :py:`Out(stream.Signature(control_layout(config.cache)))`
    idle : :py:`In(1)`
        No control command is at work.
    o_run : :py:`Out(stream.Signature(StructLayout({"address", "count"})))`
        As :class:`hw.control.sequencer.Sequencer` takes it.
    fault : :py:`In(1)`
        The run that ends has failed.
    busy : :py:`Out(1)`
    """

    def __init__(self, config: TokenRunConfig):
        self.config = config
        control = stream.Signature(control_layout(config.cache))
        program = program_layout(config)
        super().__init__({
            "i_token": In(stream.Signature(token_layout(config))), "program": In(program),
            "i_control": In(control), "o_control": Out(control), "idle": In(1),
            "o_run": Out(stream.Signature(data.StructLayout({
                "address": program["address"].shape, "count": program["count"].shape}))),
            "fault": In(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        token, inner, outer = self.i_token, self.o_control, self.i_control
        m.d.comb += [
            self.o_run.p.address.eq(self.program.address),
            self.o_run.p.count.eq(Mux(token.p.skip_head, self.program.head_count,
                                      self.program.count)),
            inner.p.eq(outer.p),
        ]
        with m.FSM() as machine:
            with m.State("IDLE"):
                with m.If(outer.valid):
                    m.next = "CONTROL"
                with m.Elif(token.valid & self.idle):
                    m.next = "RUN"
            with m.State("CONTROL"):
                m.d.comb += [inner.valid.eq(1), outer.ready.eq(inner.ready)]
                with m.If(inner.ready):
                    m.next = "IDLE"
            with m.State("RUN"):
                m.d.comb += self.o_run.valid.eq(1)
                with m.If(self.o_run.ready):
                    m.next = "ADVANCE"
                    with m.If(self.fault):
                        m.next = "DONE"
            with m.State("ADVANCE"):
                m.d.comb += [inner.valid.eq(1), inner.p.op.eq(Operation.ADVANCE),
                             inner.p.slot.eq(token.p.slot)]
                with m.If(inner.ready):
                    m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += token.ready.eq(1)
                m.next = "IDLE"
        m.d.comb += self.busy.eq(~machine.ongoing("IDLE") & ~machine.ongoing("CONTROL"))
        return m
