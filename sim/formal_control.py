# SPDX-License-Identifier: Apache-2.0
"""What is proved of the sequencer, each with a bug that must break it."""

from amaranth import *

from golden_model.control_config import SequencerConfig
from golden_model.image_config import ImagePortConfig
from golden_model.instruction_config import OPCODE_BITS, OPCODES
from hw.control import sequencer
from sim.formal_kv import Proof, accept, offer

__all__ = ["PROOFS"]

CONFIG = SequencerConfig(port=ImagePortConfig(beat_bits=192, address_bits=3, count_bits=2),
                         count_bits=3)
STILL = 3
"""Cycles of a run in which nothing is asked, owed or offered: between two of its steps."""


def program(p):
    """Fetch each instruction of a run once and in order, and hand out all that are lawful."""
    p.m.submodules.dut = dut = sequencer.Sequencer(CONFIG)
    offer(p, dut.i_run, "i_run")
    p.assume(~dut.i_run.valid | (dut.i_run.p.count != 0))
    accept(p, dut.o, "o")
    accept(p, dut.o_request, "o_request")
    p.stable("request stays", dut.o_request)
    p.stable("instruction stays", dut.o)

    # A memory that gives what it owes when it likes.
    owed, asked = Signal(2), dut.o_request.valid & dut.o_request.ready
    p.m.d.comb += [dut.i_beats.valid.eq(p.anything(1, "beat") & (owed != 0)),
                   dut.i_beats.payload.eq(p.anything(CONFIG.port.beat_bits, "data"))]
    begins = owed == CONFIG.beats
    p.m.d.sync += owed.eq(owed + Mux(asked, CONFIG.beats, 0) - dut.i_beats.valid)

    # Instructions of this run: asked for, and handed out.
    fetched, given, ended = Signal(3), Signal(3), dut.i_run.valid & dut.i_run.ready
    p.m.d.sync += [fetched.eq(fetched + asked), given.eq(given + (dut.o.valid & dut.o.ready))]
    with p.m.If(ended):
        p.m.d.sync += [fetched.eq(0), given.eq(0)]
    request, run = dut.o_request.p, dut.i_run.p
    p.check("in turn", ~dut.o_request.valid | (
        dut.i_run.valid & (fetched < run.count) & (request.beats == CONFIG.beats)
        & (request.address == (run.address + CONFIG.beats * fetched)[:3])))
    p.check("room", ~dut.o_request.valid | ((owed == 0) & (fetched - given <= 1)))

    # Of all instructions any one, by its opcode and the last bit of its last beat.
    which, opcode, bit = p.constant(3, "which"), Signal(OPCODE_BITS), Signal()
    latest = Signal(OPCODE_BITS)
    with p.m.If(dut.i_beats.valid):
        with p.m.If(begins):
            p.m.d.sync += latest.eq(dut.i_beats.payload)
        with p.m.If(fetched == which + 1):
            with p.m.If(begins):
                p.m.d.sync += opcode.eq(dut.i_beats.payload)
            p.m.d.sync += bit.eq(dut.i_beats.payload[-1])
    out = dut.o.p
    p.check("handed out", ~dut.o.valid | (given != which)
            | ((out.opcode == opcode) & (out.fields[-1] == bit)))
    unlawful = latest >= len(OPCODES)
    p.check("fault", ~ended | (dut.fault == unlawful))
    p.check("complete", ~ended | ((given + unlawful == fetched) & (
        unlawful | (latest == OPCODES["end"]) | (fetched == run.count))))
    still = Signal(3)
    p.m.d.sync += still.eq(Mux(
        dut.i_run.valid & ~ended & ~dut.o_request.valid & (owed == 0) & ~dut.o.valid, still + 1, 0))
    p.check("goes on", still <= STILL)


_SEQUENCER = "hw.control.sequencer"

PROOFS = (
    Proof(name="sequencer", design=program, bugs={
        "request stays": (_SEQUENCER, "with m.If(asking & self.o_request.ready):",
                          "with m.If(asking):"),
        "instruction stays": (_SEQUENCER, "free, known = ~self.o.valid | self.o.ready,",
                              "free, known = C(1),"),
        "in turn": (_SEQUENCER, "self.o_request.p.address + config.beats",
                    "self.o_request.p.address + 1"),
        "room": (_SEQUENCER, "[asking.eq(0), left.eq(left - 1),", "[left.eq(left - 1),"),
        "handed out": (_SEQUENCER, "beats[beat].eq", "beats[0].eq"),
        "fault": (_SEQUENCER, "self.fault.eq(~known)", "self.fault.eq(0)"),
        "complete": (_SEQUENCER, "(left == 0) |", "(left <= 1) |"),
        "goes on": (_SEQUENCER, "with m.If(~self.o.valid):", "with m.If(self.fault):"),
    }),
)
