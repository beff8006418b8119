# SPDX-License-Identifier: Apache-2.0
"""Checks an image ahead of its use: header, size, configuration, and CRC-32 of all of it."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden_model.instruction_config import HEADER, MAGIC
from golden_model.system_config import ImageCheckConfig
from hw.image.crc import START, step
from hw.image.port import beat_stream, burst_stream

__all__ = ["ImageCheck", "header_layout"]

header_layout = data.StructLayout(HEADER)
"""Header of an image, from its first bit on."""
BLANK_BYTES = 8
"""Bytes at the front, magic and CRC, that the CRC takes as zero."""


class ImageCheck(wiring.Component):
    """Read the header, and if that is sound the whole image once more for its CRC.

    The header is sound if it begins with the magic number, names ``config.config_hash``, and both
    the image ends in the memory and the program in the image.  The CRC takes ``config.steps``
    cycles a beat.

    Members
    -------
    go : :py:`In(1)`
        A pulse starts a check, if none is under way.
    forget : :py:`In(1)`
        The image is no longer known to be sound.
    stop : :py:`In(1)`
        A soft reset: drops a check under way.
    done : :py:`Out(1)`
        Pulses when a check has ended; `valid` shows its verdict from the next cycle on.
    valid : :py:`Out(1)`
    header : :py:`Out(header_layout)`
    busy : :py:`Out(1)`
    o_request, i_beats
        A reader of the image.
    """

    def __init__(self, config: ImageCheckConfig):
        self.config = config
        super().__init__({
            "go": In(1), "forget": In(1), "stop": In(1),
            "done": Out(1), "valid": Out(1), "header": Out(header_layout), "busy": Out(1),
            "o_request": Out(burst_stream(config.port)),
            "i_beats": In(beat_stream(config.port)),
        })

    def elaborate(self, platform):
        config = self.config
        m, d = Module(), Module()
        m.submodules.walk = ResetInserter(self.stop)(d)
        stored = Signal(data.ArrayLayout(config.port.beat_bits, config.header_beats),
                        reset_less=True)
        header = data.View(header_layout, Value.cast(stored)[:header_layout.size])
        m.d.comb += self.header.eq(header)
        passed = Signal()
        with m.If(self.done):
            m.d.sync += self.valid.eq(passed)
        with m.If(self.forget | self.go):
            m.d.sync += self.valid.eq(0)

        end = Signal(HEADER["beats"] + 1)
        sound, judged = Signal(), Signal()
        d.d.comb += [
            end.eq(header.program + header.instructions * config.instruction_beats),
            sound.eq((header.magic == MAGIC)
                     & (header.config_hash == int(config.config_hash, 16))
                     & (header.beats <= config.depth) & (header.program >= config.header_beats)
                     & (header.instructions != 0) & (end <= header.beats)),
        ]

        # Bursts, as fast as they are taken.
        left = Signal(range(config.depth + 1))   # beats that are to be asked for
        request = self.o_request
        d.d.comb += [request.valid.eq(left != 0),
                     request.p.beats.eq(Mux(left < config.burst, left, config.burst))]
        with d.If(request.valid & request.ready):
            d.d.sync += [request.p.address.eq(request.p.address + request.p.beats),
                         left.eq(left - request.p.beats)]

        beat = Signal(range(config.depth + 1))
        number = Signal(range(config.steps))     # of the part of a beat
        state = Signal(32)
        current = Signal(data.ArrayLayout(8 * config.step, config.steps), reset_less=True)
        full, fresh = Signal(), Signal()   # `fresh`: the beat is the image's first
        last_step = number == config.steps - 1
        rest = config.beat_bytes % config.step
        blank = BLANK_BYTES // config.step
        part = Mux(fresh & (number < blank), 0, current[0])
        following = step(state, part)
        if rest:
            following = Mux(last_step, step(state, part[:8 * rest]), following)
        with d.FSM() as fsm:
            d.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with d.State("IDLE"):
                d.d.sync += [beat.eq(0), number.eq(0), state.eq(START), full.eq(0),
                             request.p.address.eq(0)]
                with d.If(self.go):
                    d.d.sync += left.eq(config.header_beats)
                    d.next = "HEADER"
            with d.State("HEADER"):
                d.d.comb += self.i_beats.ready.eq(1)
                with d.If(self.i_beats.valid):
                    d.d.sync += [stored[beat].eq(self.i_beats.payload), beat.eq(beat + 1)]
                    with d.If(beat == config.header_beats - 1):
                        d.next = "LOOK"
            with d.State("LOOK"):
                d.d.sync += [beat.eq(0), fresh.eq(1), request.p.address.eq(0), judged.eq(sound)]
                d.next = "JUDGE"
            with d.State("JUDGE"):
                with d.If(judged):
                    d.d.sync += left.eq(header.beats)
                    d.next = "WALK"
                with d.Else():
                    d.d.comb += self.done.eq(1)
                    d.next = "IDLE"
            with d.State("WALK"):
                ends = full & last_step
                d.d.comb += self.i_beats.ready.eq(~full | last_step)
                with d.If(full):
                    d.d.sync += [state.eq(following), number.eq(number + 1),
                                 Value.cast(current).eq(Value.cast(current) >> 8 * config.step)]
                with d.If(ends):
                    d.d.sync += [number.eq(0), full.eq(0), fresh.eq(0), beat.eq(beat + 1)]
                    with d.If(beat + 1 == header.beats):
                        d.next = "COMPARE"
                with d.If(self.i_beats.valid & self.i_beats.ready):
                    d.d.sync += [Value.cast(current).eq(self.i_beats.payload), full.eq(1)]
            with d.State("COMPARE"):
                d.d.comb += [self.done.eq(1), passed.eq(~state == header.crc)]
                d.next = "IDLE"
        return m
