# SPDX-License-Identifier: Apache-2.0
"""Reads a program from the image and hands its instructions out, one at a time."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden_model.control_config import SequencerConfig
from golden_model.instruction_config import INSTRUCTION_BITS, OPCODE_BITS, OPCODES
from hw.image.port import beat_stream, burst_stream

__all__ = ["Sequencer", "instruction_layout"]

instruction_layout = data.StructLayout({
    "opcode": OPCODE_BITS, "fields": INSTRUCTION_BITS - OPCODE_BITS,
})
"""Payload of ``o``; :data:`golden_model.instruction_config.FIELDS` says what the fields are."""


class Sequencer(wiring.Component):
    """A run of a program: `count` instructions from `address` on, or fewer, up to an ``end``.

    Whoever executes an instruction accepts it when it is done with it.  The next one is fetched
    meanwhile, so that its reading takes no cycles unless execution is shorter.  The run is accepted
    when its last instruction is done.  An opcode that there is not ends the run, is not handed out,
    and sets `fault`, which the next run clears.

    Members
    -------
    i_run : :py:`In(stream.Signature(StructLayout({"address", "count"})))`
        First beat of the program; instructions, at least 1.
    o : :py:`Out(stream.Signature(instruction_layout))`
    op : :py:`Out(len(OPCODES))`
        The opcode on ``o`` once more, a bit for each: which stands while ``o.valid`` does.
    others : :py:`Out(len(OPCODES))`
        Its complement, in registers of its own.
    o_request, i_beats
        A reader of the image.
    fault : :py:`Out(1)`
    """

    def __init__(self, config: SequencerConfig):
        self.config = config
        super().__init__({
            "i_run": In(stream.Signature(data.StructLayout({
                "address": config.port.address_bits, "count": config.count_bits,
            }))),
            "o": Out(stream.Signature(instruction_layout)), "op": Out(len(OPCODES)),
            "others": Out(len(OPCODES), init=-1),
            "o_request": Out(burst_stream(config.port)),
            "i_beats": In(beat_stream(config.port)),
            "fault": Out(1),
        })

    def elaborate(self, platform):
        config = self.config
        m = Module()
        beats = Signal(data.ArrayLayout(config.port.beat_bits, config.beats), reset_less=True)
        fetched = data.View(instruction_layout, Value.cast(beats)[:INSTRUCTION_BITS])
        beat, full, asking = Signal(range(config.beats)), Signal(), Signal()
        left = Signal(config.count_bits)

        # Nothing is asked for while an instruction waits here, so there is always room.
        m.d.comb += [self.o_request.valid.eq(asking), self.o_request.p.beats.eq(config.beats),
                     self.i_beats.ready.eq(1)]
        with m.If(asking & self.o_request.ready):
            m.d.sync += [asking.eq(0), left.eq(left - 1),
                         self.o_request.p.address.eq(self.o_request.p.address + config.beats)]
        with m.If(self.i_beats.valid & self.i_beats.ready):
            m.d.sync += [beats[beat].eq(self.i_beats.payload), beat.eq(beat + 1)]
            with m.If(beat == config.beats - 1):
                m.d.sync += [beat.eq(0), full.eq(1)]

        # Whether there is a next instruction is known ahead of when this one is done.
        free, known = ~self.o.valid | self.o.ready, fetched.opcode < len(OPCODES)
        chosen = Cat(full & (fetched.opcode == n) for n in range(len(OPCODES)))
        with m.If(free):
            m.d.sync += [self.o.valid.eq(full & known), self.op.eq(chosen),
                         self.others.eq(~chosen)]
            with m.If(full):
                m.d.sync += self.o.p.eq(fetched)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.i_run.valid):
                    m.d.sync += [self.o_request.p.address.eq(self.i_run.p.address), asking.eq(1),
                                 left.eq(self.i_run.p.count), self.fault.eq(0)]
                    m.next = "RUN"
            with m.State("RUN"):
                with m.If(full & free):
                    ends = (left == 0) | (fetched.opcode == OPCODES["end"]) | ~known
                    m.d.sync += [full.eq(0), asking.eq(~ends), self.fault.eq(~known)]
                    with m.If(ends):
                        m.next = "LAST"
            with m.State("LAST"):
                with m.If(~self.o.valid):
                    m.d.comb += self.i_run.ready.eq(1)
                    m.next = "IDLE"
        return m
